"""Velocity Verlet in batches: ASE's numbers, systems that do not know of one another, failures that stay alone."""

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.md.verlet import VelocityVerlet

from esen.errors import InputError
from esen.graph.types import Graph, Potential, Prediction
from esen.md.calculator import EsenCalculator
from esen.md.engine import NOT_FINITE, TOO_FAR, TOO_HOT, Failure, Start
from esen.md.nve import BatchNve
from tests.md.small import (
    FailsLater,
    engine_of,
    final,
    overlapping,
    rattled,
    same,
    shapes,
    start_of,
    structure_of,
)
from tests.models.variants import potential_of
from tests.toys import lennard_jones, morse


def by_ase(potential: Potential, start: Start, timestep_fs: float, steps: int) -> Atoms:
    structure = start.structure
    atoms = Atoms(structure.numbers, structure.positions, cell=structure.cell, pbc=structure.pbc)
    atoms.set_masses(start.masses)
    atoms.set_momenta(start.momenta)
    atoms.calc = EsenCalculator(potential)
    VelocityVerlet(atoms, timestep=timestep_fs * units.fs).run(steps)
    return atoms


def assert_as_ase(potential: Potential, start: Start, timestep_fs: float, steps: int) -> None:
    engine = BatchNve(potential, [start], timestep_fs)
    engine.advance(steps)
    atoms = by_ase(potential, start, timestep_fs, steps)
    (held,), (moving,) = engine.observe()
    positions, momenta, forces, energy = final(engine)
    assert engine.step == steps
    assert np.abs(positions - start.structure.positions).max() > 0.01 or len(positions) == 1
    assert np.abs(positions - atoms.positions).max() < 1e-8
    assert np.abs(momenta - atoms.get_momenta()).max() < 1e-8
    assert np.abs(forces - atoms.get_forces()).max() < 1e-7
    assert energy == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    assert float(held) == energy
    assert float(moving) == pytest.approx(atoms.get_kinetic_energy(), abs=1e-9)


@pytest.mark.parametrize("shape", shapes())
def test_as_ase(shape: str) -> None:
    assert_as_ase(lennard_jones(), start_of(shapes()[shape]), 2.0, 300 if shape == "crystal" else 30)


@pytest.mark.parametrize(
    "shape", ["crystal", "slab", "molecule", "smaller than the cutoff", "one atom", "two atoms"]
)
def test_a_network_as_ase(shape: str) -> None:
    assert_as_ase(potential_of("one layer"), start_of(shapes()[shape]), 1.0, 5)


def test_eight_systems_are_eight_single_runs() -> None:
    systems = list(shapes().values())
    together = engine_of(lennard_jones(), *systems, timestep_fs=2.0)
    together.advance(30)
    potential, kinetic = together.observe()
    for number, atoms in enumerate(systems):
        alone = BatchNve(lennard_jones(), [start_of(atoms, seed=number)], 2.0)
        alone.advance(30)
        held, moving = alone.observe()
        for a, b in zip(final(together, number), final(alone), strict=True):
            assert np.abs(np.asarray(a) - np.asarray(b)).max() < 1e-9
        assert float(potential[number]) == pytest.approx(float(held[0]), abs=1e-9)
        assert float(kinetic[number]) == pytest.approx(float(moving[0]), abs=1e-9)


def test_eight_systems_of_a_network() -> None:
    systems = list(shapes().values())
    together = engine_of(potential_of("one layer"), *systems)
    together.advance(4)
    for number, atoms in enumerate(systems):
        alone = BatchNve(potential_of("one layer"), [start_of(atoms, seed=number)], 1.0)
        alone.advance(4)
        for a, b in zip(final(together, number), final(alone), strict=True):
            assert np.abs(np.asarray(a) - np.asarray(b)).max() < 1e-9


def test_energy_is_conserved_and_time_runs_backwards() -> None:
    start = start_of(shapes()["crystal"], 100.0)
    engine = BatchNve(lennard_jones(), [start], 1.0)
    before = sum(float(x[0]) for x in engine.observe())
    engine.advance(200)
    after = sum(float(x[0]) for x in engine.observe())
    assert abs(after - before) < 1e-5
    positions, momenta, *_ = final(engine)
    assert np.abs(positions - start.structure.positions).max() > 0.1
    turned = Start(
        structure_of(Atoms("Al4", positions, cell=start.structure.cell, pbc=True)), start.masses, -momenta
    )
    back = BatchNve(lennard_jones(), [turned], 1.0)
    back.advance(200)
    assert np.abs(final(back)[0] - start.structure.positions).max() < 1e-9


def test_neighbours_are_searched_now_and_then() -> None:
    engine = engine_of(lennard_jones(), shapes()["crystal"])
    engine.advance(100)
    assert 2 <= engine.searches <= 20


def test_starts_are_left_alone() -> None:
    start = start_of(shapes()["crystal"])
    positions, momenta = start.structure.positions.copy(), start.momenta.copy()
    BatchNve(lennard_jones(), [start], 1.0).advance(3)
    assert same((start.structure.positions, start.momenta), (positions, momenta))


SMALL, LARGE = bulk("Al", a=4.05), rattled(bulk("Al", a=4.05, cubic=True))


def of_both(potential: Potential) -> BatchNve:
    return engine_of(potential, SMALL, LARGE, shapes()["wire"])


@pytest.mark.parametrize("spoilt", ["forces", "one force", "energy"])
@pytest.mark.parametrize("call", [0, 7])
@pytest.mark.parametrize("observed", [1, 10])
def test_what_is_not_finite_stops_its_system_alone(spoilt: str, call: int, observed: int) -> None:
    engine, healthy = of_both(FailsLater(lennard_jones(), call, 3, spoilt)), of_both(lennard_jones())
    for _ in range(20 // observed):
        engine.observe()
        engine.advance(observed)
    healthy.advance(20)
    potential, kinetic = engine.observe()
    assert list(engine.live) == [0, 2]
    assert {k: (f.step, f.reason) for k, f in engine.failures.items()} == {1: (call, NOT_FINITE)}
    assert len(potential) == len(kinetic) == 2
    for system in (0, 2):
        assert same(final(engine, system), final(healthy, system))


@pytest.mark.parametrize("spoilt", ["forces", "energy"])
def test_a_value_that_was_not_finite_once_is_not_forgotten(spoilt: str) -> None:
    engine = of_both(FailsLater(lennard_jones(), 4, 3, spoilt, last=4))
    engine.advance(20)
    engine.observe()
    assert engine.failures[1].step == 4


@pytest.mark.parametrize(
    ("apart", "step", "reason"),
    [
        (0.0, 0, NOT_FINITE),
        (1e-40, 0, NOT_FINITE),
        (1e-10, 1, TOO_FAR),
        (0.01, 1, TOO_FAR),
        (0.1, 1, TOO_FAR),
    ],
)
@pytest.mark.parametrize("periodic", [True, False])
def test_overlapping_atoms_explode_alone(apart: float, step: int, reason: str, periodic: bool) -> None:
    exploding = overlapping(apart)
    exploding.pbc = periodic
    engine, healthy = (
        BatchNve(lennard_jones(), starts, 1.0)
        for starts in (
            [start_of(exploding), start_of(LARGE, seed=1)],
            [start_of(LARGE, seed=1)],
        )
    )
    engine.advance(5)
    engine.observe()
    healthy.advance(5)
    assert list(engine.live) == [1]
    assert (engine.failures[0].step, engine.failures[0].reason) == (step, reason)
    assert same(final(engine, 1), final(healthy, 0))


def test_what_is_hot_is_stopped_when_it_is_seen() -> None:
    hot = start_of(Atoms("Al"), 1e7)
    engine = BatchNve(lennard_jones(), [start_of(LARGE), hot], 0.01)
    engine.advance(3)
    potential, kinetic = engine.observe()
    assert len(potential) == len(kinetic) == 1
    assert (engine.failures[1].step, engine.failures[1].reason) == (3, TOO_HOT)
    engine.advance(3)
    assert list(engine.live) == [0]


def test_all_systems_may_fail() -> None:
    engine = engine_of(lennard_jones(), overlapping(0.0), overlapping(0.01))
    for _ in range(3):
        potential, kinetic = engine.observe()
        engine.advance()
    assert (len(potential), len(kinetic)) == (0, 0)
    assert list(engine.live) == []
    assert engine.step == 1
    assert [(f.step, f.reason) for f in engine.failures.values()] == [(0, NOT_FINITE), (1, TOO_FAR)]
    again = engine_of(lennard_jones(), overlapping(0.0), overlapping(0.01))
    again.restore(engine.save())
    again.advance(3)
    assert again.failures == engine.failures


@pytest.mark.parametrize("before", [0, 23])
def test_restored_it_goes_on_with_the_same_bits(before: int) -> None:
    whole = engine_of(lennard_jones(), *shapes().values(), timestep_fs=2.0)
    whole.advance(before)
    saved = {name: np.copy(array) for name, array in whole.save().items()}
    whole.advance(40 - before)
    resumed = engine_of(lennard_jones(), *shapes().values(), timestep_fs=2.0)
    resumed.restore(saved)
    resumed.advance(40 - before)
    assert resumed.step == 40
    for system in whole.live:
        assert same(final(whole, system), final(resumed, system))
    assert all(torch.equal(a, b) for a, b in zip(whole.observe(), resumed.observe(), strict=True))


@pytest.mark.parametrize("before", [5, 6, 12])
def test_restored_after_a_failure(before: int) -> None:
    whole = of_both(FailsLater(lennard_jones(), 5, 3))
    whole.advance(before)
    saved = {name: np.copy(array) for name, array in whole.save().items()}
    whole.advance(20 - before)
    whole.observe()
    resumed = of_both(lennard_jones())
    resumed.restore(saved)
    resumed.advance(20 - before)
    resumed.observe()
    assert resumed.failures == whole.failures == {1: whole.failures[1]}
    assert whole.failures[1].step == 5
    for system in (0, 2):
        assert same(final(whole, system), final(resumed, system))


class RaisesLater:
    """A potential that raises for batches with a large structure from some call on."""

    def __init__(self, base: Potential, call: int, error: Exception) -> None:
        self.base, self.call, self.error = base, call, error
        self.cutoff, self.backend = base.cutoff, base.backend
        self.calls = 0

    def __call__(self, graph: Graph) -> Prediction:
        self.calls += 1
        if self.calls > self.call and int(torch.bincount(graph.structure).max()) > 3:
            raise self.error
        return self.base(graph)


def test_a_system_that_is_refused_stops_alone() -> None:
    known = morse(elements=frozenset({8}))
    oxygen = start_of(rattled(bulk("O", "fcc", a=4.0, cubic=True)))
    engine = BatchNve(known, [start_of(LARGE), oxygen], 1.0)
    assert engine.failures == {0: Failure(0, "the potential does not know element 13")}
    engine.advance(3)
    alone = BatchNve(known, [oxygen], 1.0)
    alone.advance(3)
    assert same(final(engine, 1), final(alone, 0))


@pytest.mark.parametrize("call", [0, 4])
def test_a_potential_that_raises_for_one_system(call: int) -> None:
    engine = of_both(RaisesLater(lennard_jones(), call, RuntimeError("no\nneighbours")))
    healthy = of_both(lennard_jones())
    engine.advance(10)
    healthy.advance(10)
    assert engine.failures == {1: Failure(call, "the potential raised RuntimeError: no")}
    for system in (0, 2):
        assert same(final(engine, system), final(healthy, system))


def test_a_batch_that_does_not_fit_says_what_to_do() -> None:
    with pytest.raises(InputError, match=r"3 systems .*\d+ atoms .*--batch-atoms"):
        of_both(RaisesLater(lennard_jones(), 0, torch.OutOfMemoryError("CUDA out of memory")))


def test_an_error_of_no_single_system_is_raised() -> None:
    class Together(RaisesLater):
        def __call__(self, graph: Graph) -> Prediction:
            if graph.num_structures > 1:
                raise self.error
            return self.base(graph)

    with pytest.raises(RuntimeError, match="only together"):
        of_both(Together(lennard_jones(), 0, RuntimeError("only together")))
