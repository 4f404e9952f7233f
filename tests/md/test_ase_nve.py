"""ASE's integrator behind our engine: its numbers, whatever a foreign calculator does, and the same bits again."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import BaseCalculator, Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.md.verlet import VelocityVerlet

from esen.md.ase_nve import AseNve
from esen.md.calculator import EsenCalculator
from esen.md.engine import NOT_FINITE, TOO_FAR, TOO_HOT
from esen.md.nve import BatchNve
from tests.md.small import final, overlapping, rattled, same, shapes, start_of
from tests.toys import lennard_jones


def copper(kelvin: float = 300.0) -> Any:
    return start_of(rattled(bulk("Cu", cubic=True)), kelvin)


class Scripted(Calculator):  # type: ignore[misc]  # ASE has no types
    """Springs to where the atoms were first; does something else from some call on."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, call: int, what: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self.call, self.what, self.calls = call, what, 0
        self.first: np.ndarray | None = None

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        if self.first is None:
            self.first = self.atoms.positions.copy()
        away = self.atoms.positions - self.first
        self.results = {"energy": 0.5 * float((away**2).sum()), "forces": -away}
        self.calls += 1
        if self.calls - 1 >= self.call:
            self.what(self.results)


def test_as_ases_own_driver() -> None:
    start = copper()
    engine = AseNve(EMT(), start, 2.0)
    engine.advance(30)
    atoms = Atoms(start.structure.numbers, start.structure.positions, cell=start.structure.cell, pbc=True)
    atoms.set_momenta(start.momenta)
    atoms.calc = EMT()
    VelocityVerlet(atoms, timestep=2.0 * units.fs).run(30)
    positions, momenta, forces, energy = final(engine)
    assert engine.step == 30
    assert np.abs(positions - atoms.positions).max() < 1e-10
    assert np.abs(momenta - atoms.get_momenta()).max() < 1e-10
    assert np.abs(forces - atoms.get_forces()).max() < 1e-10
    (held,), (moving,) = engine.observe()
    assert float(held) == energy == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
    assert float(moving) == pytest.approx(atoms.get_kinetic_energy(), abs=1e-10)


def test_the_bits_of_ases_own_driver() -> None:
    """Before the calculator is reset for the first time, after which its neighbour list has another order."""
    start = copper()
    engine = AseNve(EMT(), start, 2.0)
    engine.advance(19)
    atoms = Atoms(start.structure.numbers, start.structure.positions, cell=start.structure.cell, pbc=True)
    atoms.set_masses(start.masses)
    atoms.set_momenta(start.momenta)
    atoms.calc = EMT()
    VelocityVerlet(atoms, timestep=2.0 * units.fs).run(19)
    expected = (atoms.positions, atoms.get_momenta(), atoms.get_forces(), atoms.get_potential_energy())
    assert same(final(engine), expected)


@pytest.mark.parametrize("shape", ["crystal", "slab", "molecule", "one atom"])
def test_both_engines_agree(shape: str) -> None:
    start = start_of(shapes()[shape])
    ours, theirs = (
        BatchNve(lennard_jones(), [start], 2.0),
        AseNve(EsenCalculator(lennard_jones()), start, 2.0),
    )
    for engine in (ours, theirs):
        engine.advance(25)
    for a, b in zip(final(ours), final(theirs), strict=True):
        assert np.abs(np.asarray(a) - np.asarray(b)).max() < 1e-9
    for a, b in zip(ours.observe(), theirs.observe(), strict=True):
        assert float(a[0]) == pytest.approx(float(b[0]), abs=1e-9)


def test_one_call_a_step() -> None:
    calculator = Scripted(10**9, lambda results: None)
    engine = AseNve(calculator, copper(), 1.0)
    engine.advance(50)
    engine.observe()
    assert calculator.calls == 51


def raises(error: BaseException) -> Callable[[dict[str, Any]], None]:
    def what(results: dict[str, Any]) -> None:
        raise error

    return what


def spoils(key: str, value: float) -> Callable[[dict[str, Any]], None]:
    def what(results: dict[str, Any]) -> None:
        results[key] = results[key] * value

    return what


@pytest.mark.parametrize("call", [0, 1, 33])
@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (raises(RuntimeError("no\nneighbours")), "the potential raised RuntimeError: no"),
        (raises(AssertionError()), "the potential raised AssertionError"),
        (spoils("forces", np.nan), NOT_FINITE),
        (spoils("energy", np.inf), NOT_FINITE),
    ],
)
def test_what_goes_wrong_stops_it_at_that_step(
    call: int, what: Callable[[dict[str, Any]], None], reason: str
) -> None:
    with np.errstate(invalid="ignore"):
        engine = AseNve(Scripted(call, what), copper(), 1.0)
        engine.advance(40)
    assert (engine.failures[0].step, engine.failures[0].reason) == (call, reason)
    assert list(engine.live) == []
    assert [len(values) for values in engine.observe()] == [0, 0]
    assert engine.step == call
    again = AseNve(Scripted(10**9, what), copper(), 1.0)
    again.restore(engine.save())
    again.advance(5)
    assert again.failures == engine.failures
    assert again.step == call


def test_ctrl_c_in_a_calculator_is_no_failure() -> None:
    engine = AseNve(Scripted(3, raises(KeyboardInterrupt())), copper(), 1.0)
    with pytest.raises(KeyboardInterrupt):
        engine.advance(5)


def test_explosions() -> None:
    with pytest.warns(UserWarning, match=r"0\.01"):  # of the calculator: atoms that overlap
        engine = AseNve(EsenCalculator(lennard_jones()), start_of(overlapping(0.01)), 1.0)
    engine.advance(3)
    assert (engine.failures[0].step, engine.failures[0].reason) == (1, TOO_FAR)
    hot = AseNve(EsenCalculator(lennard_jones()), start_of(Atoms("Al"), 1e7), 0.01)
    hot.advance(4)
    assert [len(values) for values in hot.observe()] == [0, 0]
    assert (hot.failures[0].step, hot.failures[0].reason) == (4, TOO_HOT)


ARGON = {"sigma": 3.405, "epsilon": 0.01032, "rc": 6.5, "smooth": True}


@pytest.mark.parametrize(
    ("make", "atoms", "kelvin"),
    [
        (EMT, rattled(bulk("Cu", cubic=True)), 3000.0),
        (lambda: LennardJones(**ARGON), rattled(bulk("Ar", a=5.26, cubic=True), 0.1), 100.0),
        (lambda: EsenCalculator(lennard_jones()), rattled(bulk("Al", a=4.05, cubic=True)), 300.0),
    ],
)
@pytest.mark.parametrize("before", [7, 60])
def test_the_same_bits_again(make: Callable[[], Any], atoms: Atoms, kelvin: float, before: int) -> None:
    """Although EMT and LJ keep lists of neighbours, and here begin with one of other positions."""
    whole = AseNve(make(), start_of(atoms, kelvin), 5.0)
    whole.advance(before)
    saved = {name: np.copy(array) for name, array in whole.save().items()}
    whole.advance(75 - before)
    used = make()
    used.calculate(rattled(atoms.copy(), 0.1, seed=before))
    resumed = AseNve(used, start_of(atoms, kelvin), 5.0)
    resumed.restore(saved)
    assert resumed.step == before
    resumed.advance(75 - before)
    assert same(final(whole), final(resumed))


def test_a_calculator_that_cannot_be_reset() -> None:
    class Free(BaseCalculator):  # type: ignore[misc]  # ASE has no types
        implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

        def calculate(self, atoms: Any, properties: Any, system_changes: Any) -> None:
            self.results = {"energy": 1.0, "forces": np.zeros((len(atoms), 3))}

    engine = AseNve(Free(), copper(), 1.0)
    engine.advance(25)
    assert float(engine.observe()[0][0]) == 1.0
    assert not engine.failures
