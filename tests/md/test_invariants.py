"""Shadow energy and angular momentum, of both integrators: what exact dynamics conserves."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms

from esen.data.atoms import from_atoms
from esen.md.ase_nve import AseNve
from esen.md.calculator import EsenCalculator
from esen.md.engine import Engine, Start
from esen.md.nve import BatchNve
from esen.md.velocities import maxwell_boltzmann
from tests.md.small import engine_of, shapes, start_of
from tests.toys import lennard_jones, morse


class Springs(Calculator):  # type: ignore[misc]  # ASE has no types
    """Springs to the origin, of another stiffness in each direction; with `swirl`, forces without an energy."""

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]
    stiffness = np.array([1.0, 2.0, 5.0])

    def __init__(self, swirl: float = 0.0) -> None:
        super().__init__()
        self.swirl = swirl

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        x = self.atoms.positions
        turned = np.stack([-x[:, 1], x[:, 0], 0 * x[:, 0]], axis=1)
        self.results = {
            "energy": 0.5 * float((self.stiffness * x**2).sum()),
            "forces": -self.stiffness * x + self.swirl * turned,
        }


PAIR = Atoms("Al2", [[0.1, 0, 0.05], [0, 0.1, -0.1]])


def energies(engine: Engine, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Total and shadow energies after each step."""
    found = []
    for _ in range(steps):
        engine.advance()
        total = sum(float(part[0]) for part in engine.observe())
        found.append((total, float(engine.invariants()[0][0])))
    total, shadow = np.array(found).T
    return total, shadow


def ratios(make: Callable[[float], Engine], timesteps: tuple[float, ...]) -> tuple[list[float], list[float]]:
    """How much less total and shadow energy fluctuate with each halving of the timestep."""
    spreads = []
    for timestep in timesteps:
        total, shadow = energies(make(timestep), round(100 / timestep))
        assert np.isnan(shadow).tolist() == [True] + [False] * (len(shadow) - 1)
        spreads.append((total[1:].std(), shadow[1:].std()))
    plain, corrected = np.array(spreads).T
    return (plain[:-1] / plain[1:]).tolist(), (corrected[:-1] / corrected[1:]).tolist()


def test_shadow_energy_of_oscillators_is_of_fourth_order() -> None:
    """Were a sign or a factor of the correction wrong, it would be of second order."""
    plain, corrected = ratios(lambda dt: AseNve(Springs(), start_of(PAIR), dt), (2.0, 1.0, 0.5))
    assert plain == pytest.approx([4.0, 4.0], rel=0.05)
    assert corrected == pytest.approx([16.0, 16.0], rel=0.1)


def test_shadow_energy_of_a_crystal_is_of_fourth_order() -> None:
    crystal = start_of(shapes()["crystal"], 100.0)
    plain, corrected = ratios(lambda dt: BatchNve(morse(), [crystal], dt), (4.0, 2.0))
    assert plain == pytest.approx([4.0], rel=0.1)
    assert corrected == pytest.approx([16.0], rel=0.25)


def test_shadow_energy_shows_the_work_of_forces_that_are_no_gradient() -> None:
    total, shadow = energies(AseNve(Springs(swirl=0.1), start_of(PAIR), 1.0), 400)
    assert np.ptp(shadow[1:]) > 10 * np.ptp((total - shadow)[1:])


@pytest.mark.parametrize("shape", ["crystal", "molecule", "two atoms", "one atom", "slab"])
def test_both_engines_agree_on_invariants(shape: str) -> None:
    start = start_of(shapes()[shape])
    ours = BatchNve(lennard_jones(), [start], 2.0)
    theirs = AseNve(EsenCalculator(lennard_jones()), start, 2.0)
    for steps in (0, 1, 1, 21):
        for engine in (ours, theirs):
            engine.advance(steps)
        found, expected = (np.array([x.tolist() for x in e.invariants()]) for e in (ours, theirs))
        np.testing.assert_allclose(found, expected, atol=1e-9)
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all() == start.structure.pbc.any()


def turned_by_torque(engine: Engine, steps: int) -> float:
    engine.advance(steps)
    return float(engine.invariants()[1][0])


def test_angular_momentum_is_conserved_unless_there_is_a_torque() -> None:
    molecule = start_of(shapes()["molecule"])
    assert turned_by_torque(BatchNve(lennard_jones(), [molecule], 1.0), 0) == 0
    assert turned_by_torque(BatchNve(lennard_jones(), [molecule], 1.0), 100) < 1e-9
    engine = AseNve(Springs(), start_of(PAIR), 1.0)
    found = turned_by_torque(engine, 50)
    now = engine.snapshot(0)
    atoms = Atoms("Al2", now.positions, momenta=now.momenta)
    before = PAIR.copy()
    before.set_momenta(engine.start.momenta)
    change = np.linalg.norm(atoms.get_angular_momentum() - before.get_angular_momentum())
    joule_seconds = change / (units.J * units.second)
    assert found == pytest.approx(joule_seconds / 1.054571817e-34, rel=1e-6)
    assert found > 0.1


def test_angular_momentum_where_it_is_not_conserved() -> None:
    held = shapes()["molecule"]
    held.set_constraint(FixAtoms([0]))
    structure = from_atoms(held, "held")
    masses = held.get_masses()
    momenta = maxwell_boltzmann(masses, 300.0, 0)
    momenta[0] = 0
    start = Start(structure, masses, momenta)
    engines: list[Engine] = [
        BatchNve(lennard_jones(), [start], 1.0),
        AseNve(EsenCalculator(lennard_jones()), start, 1.0),
    ]
    for engine in engines:
        engine.advance(5)
        shadow, turned = engine.invariants()
        assert bool(shadow.isfinite().all())
        assert bool(turned.isnan().all())


def test_a_state_of_an_earlier_version_is_continued() -> None:
    """It has no forces of earlier steps; the shadow energy is known again after two steps."""
    whole = engine_of(lennard_jones(), *shapes().values())
    whole.advance(10)
    saved = {name: np.copy(array) for name, array in whole.save().items() if "_before" not in name}
    resumed = engine_of(lennard_jones(), *shapes().values())
    resumed.restore(saved)
    assert bool(resumed.invariants()[0].isnan().all())
    for engine in (whole, resumed):
        engine.advance(2)
    for a, b in zip(whole.invariants(), resumed.invariants(), strict=True):
        assert np.array_equal(a.numpy(), b.numpy(), equal_nan=True)
