"""Procedures whose calls of a potential are answered in batches."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import torch
from ase.build import bulk

from esen.data.structure import Structure
from esen.errors import InputError
from esen.evaluate.batched import Stopped, run_batched
from esen.evaluate.relax import Relaxed, RelaxSpec, relax
from esen.graph.batch import make_graph
from esen.graph.types import Graph, Potential, Prediction
from esen.md.calculator import EsenCalculator
from esen.recipe.model import Backend
from tests.evaluate.phonons.crystals import structure_of
from tests.models.variants import potential_of
from tests.toys import morse

COPPER, URANIUM = 29, 92


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


class Recorded:
    """A potential that keeps the numbers of atoms of each structure of each batch."""

    cutoff = 3.0
    backend: Backend = "vesin"

    def __init__(self, act: Callable[[int], None] = lambda call: None) -> None:
        self.batches: list[list[int]] = []
        self.act = act

    def __call__(self, graph: Graph) -> Prediction:
        self.batches.append(torch.bincount(graph.structure).tolist())
        self.act(len(self.batches))
        n, b = graph.num_atoms, graph.num_structures
        zero = torch.zeros(b, dtype=torch.float64)
        energy = zero.index_add(0, graph.structure, graph.positions[:, 0])
        atoms = torch.zeros(n, dtype=torch.float64)
        stress = torch.zeros(b, 3, 3, dtype=torch.float64)
        return Prediction(energy, torch.zeros(n, 3, dtype=torch.float64), stress, atoms, stress)


def row(atoms: int, number: int = COPPER) -> Structure:
    positions = np.zeros((atoms, 3))
    positions[:, 0] = 2.5 * np.arange(atoms)
    return Structure(np.full(atoms, number), positions, np.zeros((3, 3)), np.zeros(3, dtype=bool))


def ask(structure: Structure, times: int, shared: Potential) -> float:
    """The energy, asked several times."""
    graph = make_graph(structure, shared.cutoff, shared.backend)
    energies = {float(shared(graph).energy[0]) for _ in range(times)}
    assert len(energies) == 1
    return energies.pop()


def perturbed(seed: int) -> Structure:
    atoms = bulk("MgO", "rocksalt", a=4.25) if seed % 2 else bulk("Mg", "hcp")
    atoms.rattle(0.1, seed=seed)
    return structure_of(atoms, f"crystal {seed}")


def test_relaxed_together_as_one_by_one() -> None:
    potential, spec = potential_of("default"), RelaxSpec(fmax=0.12, steps=9)
    structures = [perturbed(seed) for seed in range(4)]

    def procedure(structure: Structure, shared: Potential) -> Relaxed:
        return relax(structure, EsenCalculator(shared), spec)

    found = run_batched(
        [partial(procedure, structure) for structure in structures], potential, sizes=[2] * 4, budget=4
    )
    alone = [relax(structure, EsenCalculator(potential), spec) for structure in structures]
    assert len({(one.steps, one.converged) for one in alone}) > 1
    for one, other in zip(found, alone, strict=True):
        assert isinstance(one, Relaxed), one
        assert (one.steps, one.converged, one.groups) == (other.steps, other.converged, other.groups)
        assert one.structure.energy == pytest.approx(other.structure.energy, abs=1e-8)
        np.testing.assert_allclose(one.structure.positions, other.structure.positions, atol=1e-8)
        np.testing.assert_allclose(one.structure.cell, other.structure.cell, atol=1e-8)
        assert one.structure.source == other.structure.source


def test_batches_keep_the_budget_and_the_order() -> None:
    sizes, times = [3, 1, 9, 2, 2, 4], [2, 4, 1, 3, 1, 2]
    potential, over = Recorded(), []
    found = run_batched(
        [partial(ask, row(size), many) for size, many in zip(sizes, times, strict=True)],
        potential,
        sizes=sizes,
        budget=6,
        ended=lambda index, outcome: over.append((index, outcome)),
    )
    assert found == [2.5 * size * (size - 1) / 2 for size in sizes]
    # 9 atoms do not fit: they wait, and run alone. What ends makes room for the next in order.
    assert potential.batches == [[3, 1], [3, 1], [1], [1], [9], [2, 2], [2, 4], [2, 4]]
    assert [index for index, _ in over] == [0, 1, 2, 4, 3, 5]
    assert sorted(over) == list(enumerate(found))


def test_batches_do_not_depend_on_time() -> None:
    def slow(structure: Structure, seed: int, shared: Potential) -> float:
        random = np.random.default_rng(seed)
        for _ in range(3):
            time.sleep(0.003 * random.random())
            energy = ask(structure, 1, shared)
        return energy

    seen = []
    for seed in (0, 7):
        potential = Recorded()
        jobs = [partial(slow, row(size), seed + size) for size in (2, 3, 1)]
        run_batched(jobs, potential, sizes=[2, 3, 1], budget=9)
        seen.append(potential.batches)
    assert seen[0] == seen[1] == [[2, 3, 1]] * 3


def test_only_what_is_wrong_has_the_exception() -> None:
    potential = morse(elements=frozenset({COPPER}))
    jobs = [partial(ask, row(2, number), 2) for number in (COPPER, URANIUM, COPPER, COPPER)]

    def raising(shared: Potential) -> float:
        ask(row(1), 1, shared)
        raise ValueError("a defect")

    first, second, third, fourth, last = run_batched(
        [*jobs, raising], potential, sizes=[2, 2, 2, 2, 1], budget=100
    )
    assert first == third == fourth == pytest.approx(-0.2, abs=0.3)
    assert isinstance(second, InputError)
    assert "does not know element 92" in str(second)
    assert isinstance(last, ValueError)


def test_a_batch_that_is_too_large_is_halved() -> None:
    def full(call: int) -> None:
        if len(potential.batches[-1]) > 2:
            raise MemoryError

    potential = Recorded(full)
    found = run_batched([partial(ask, row(2), 1)] * 5, potential, sizes=[2] * 5, budget=100)
    assert found == [2.5] * 5
    assert [len(batch) for batch in potential.batches] == [5, 2, 3, 1, 2]


def interrupted(call: int) -> None:
    if call == 3:
        raise KeyboardInterrupt


def signalled(call: int) -> None:
    if call == 3:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()


@pytest.mark.parametrize("act", [interrupted, signalled])
def test_an_interruption_ends_all(act: Callable[[int], None]) -> None:
    stopped, potential = [], Recorded(act)

    def procedure(structure: Structure, shared: Potential) -> None:
        try:
            for _ in range(1000):
                try:
                    ask(structure, 1, shared)
                except Exception:  # as careless code does
                    continue
                time.sleep(0.01 if len(potential.batches) < 50 else 1)
        except Stopped:
            stopped.append(len(structure))
            raise

    with pytest.raises(KeyboardInterrupt):
        run_batched(
            [partial(procedure, row(size)) for size in (1, 2, 3)], potential, sizes=[1, 2, 3], budget=10
        )
    assert sorted(stopped) == [1, 2, 3]
    assert 3 <= len(potential.batches) < 20


def test_nobody_waits_for_what_cannot_come() -> None:
    def leaving(shared: Potential) -> float:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        run_batched([partial(ask, row(2), 5), leaving], Recorded(), sizes=[2, 1], budget=9)

    def full(index: int, outcome: float | Exception) -> None:
        raise OSError("the disk is full")

    jobs = [partial(ask, row(2), 5), partial(ask, row(1), 1)]
    with pytest.raises(OSError, match="the disk is full"):
        run_batched(jobs, Recorded(), sizes=[2, 1], budget=9, ended=full)


def test_nothing_to_do() -> None:
    assert run_batched([], Recorded(), sizes=[], budget=9) == []
