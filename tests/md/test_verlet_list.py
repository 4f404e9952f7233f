"""The list of neighbours is the graph of a new search, edge by edge, whatever the atoms did since the last."""

import numpy as np
import pytest
import torch
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from esen.data.structure import Structure
from esen.errors import InputError
from esen.graph.batch import make_graph
from esen.graph.types import Graph
from esen.md.verlet_list import VerletList
from tests.md.small import shapes, structure_of
from tests.strategies import structures

FIELDS = ("numbers", "positions", "cell", "pbc", "structure", "sender", "receiver", "shift")


def assert_same(graph: Graph, expected: Graph) -> None:
    for field in FIELDS:
        assert torch.equal(getattr(graph, field), getattr(expected, field)), field


def moved(systems: list[Structure], positions: torch.Tensor) -> list[Structure]:
    pieces = positions.split([len(s) for s in systems])
    return [
        Structure(s.numbers, p.numpy().copy(), s.cell, s.pbc) for s, p in zip(systems, pieces, strict=True)
    ]


def together(systems: list[Structure]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([s.positions for s in systems]))


@given(st.lists(structures(), min_size=1, max_size=3), st.integers(0, 999), st.sampled_from([0.2, 0.5, 1.5]))
@settings(max_examples=25)
def test_a_random_walk(systems: list[Structure], seed: int, skin: float) -> None:
    cutoff = 3.0
    generator = np.random.default_rng(seed)
    positions = together(systems)
    verlet = VerletList(systems, cutoff, "vesin", "cpu", skin)
    steps = 12
    for _ in range(steps):
        positions = positions + torch.from_numpy(generator.normal(0, 0.05, positions.shape))
        assert_same(verlet.graph(positions), make_graph(moved(systems, positions), cutoff))
    assert verlet.searches <= steps


def test_atoms_wander_far_out_of_the_cell() -> None:
    systems = [structure_of(shapes()[name]) for name in ("crystal", "slab", "wire", "molecule")]
    velocity = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (sum(map(len, systems)), 3)))
    positions = together(systems)
    verlet = VerletList(systems, 5.0, "vesin", "cpu")
    edges = set()
    for _ in range(60):
        positions = positions + 0.2 * velocity
        graph = verlet.graph(positions)
        assert_same(graph, make_graph(moved(systems, positions), 5.0))
        edges.add(graph.num_edges)
    assert float(positions.abs().max()) > 15
    assert len(edges) > 10
    assert float(graph.shift.abs().max()) > 3


def test_up_to_half_the_skin_and_no_further() -> None:
    pair = [structure_of(Atoms("Al2", [[0, 0, 0], [4.5, 0, 0]]))]
    verlet = VerletList(pair, 4.0, "vesin", "cpu", 0.5)
    assert verlet.graph(together(pair)).num_edges == 0
    closer = torch.tensor([[0.25, 0, 0], [4.25, 0, 0]], dtype=torch.float64)
    assert verlet.displacements(closer).tolist() == [0.25, 0.25]
    assert verlet.graph(closer).num_edges == 2
    assert verlet.searches == 1
    further = closer + torch.tensor([[1e-12, 0, 0], [0, 0, 0]], dtype=torch.float64)
    assert verlet.graph(further).num_edges == 2
    assert verlet.searches == 2
    assert verlet.displacements(further).tolist() == [0.0, 0.0]


def test_one_atom_alone_may_move_by_half_the_skin() -> None:
    """Were it the whole skin, two atoms that come together would meet unseen."""
    pair = [structure_of(Atoms("Al2", [[0, 0, 0], [4.8, 0, 0]]))]
    verlet = VerletList(pair, 4.0, "vesin", "cpu", 0.5)
    verlet.graph(together(pair))
    met = torch.tensor([[0.45, 0, 0], [4.35, 0, 0]], dtype=torch.float64)
    assert verlet.graph(met).num_edges == 2


def test_without_a_cutoff_there_are_no_edges() -> None:
    crystal = [structure_of(shapes()["crystal"])]
    graph = VerletList(crystal, 0.0, "vesin", "cpu").graph(together(crystal))
    assert graph.num_edges == 0
    assert graph.num_atoms == 4


def test_the_list_does_not_follow_the_positions_that_it_was_given() -> None:
    crystal = [structure_of(shapes()["crystal"])]
    positions = together(crystal)
    verlet = VerletList(crystal, 5.0, "vesin", "cpu")
    verlet.graph(positions)
    positions += 1.0
    assert float(verlet.displacements(positions).min()) > 1


def test_what_is_no_number_is_not_searched() -> None:
    crystal = [structure_of(shapes()["crystal"])]
    positions = together(crystal)
    verlet = VerletList(crystal, 5.0, "vesin", "cpu")
    verlet.graph(positions)
    positions[2, 1] = torch.nan
    with pytest.raises(InputError, match="not finite"):
        verlet.graph(positions)
