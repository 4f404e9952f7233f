from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given

from esen.data.neighbours import neighbour_list
from esen.data.structure import Structure
from esen.graph.batch import make_graph
from esen.graph.edges import edge_vectors
from tests.strategies import structures


def test_the_formula():
    cell = np.array([[3.0, 0.0, 0.0], [1.0, 4.0, 0.0], [0.0, 0.5, 9.0]])
    positions = np.array([[0.1, 0.2, 0.3], [2.0, 3.0, 1.0]])
    structure = Structure(np.array([1, 2]), positions, cell, np.array([True, True, True]))
    graph = make_graph(structure, 3.0)
    # Rows are lattice vectors: one step along the second row moves by (1, 4, 0).
    (edge,) = torch.nonzero(
        (graph.receiver == 0) & (graph.sender == 1) & (graph.shift == torch.tensor([0.0, -1, 0])).all(dim=1)
    )[0].tolist()
    expected = torch.tensor([2.0 - 1.0 - 0.1, 3.0 - 4.0 - 0.2, 1.0 - 0.3], dtype=torch.float64)
    torch.testing.assert_close(edge_vectors(graph)[edge], expected, rtol=1e-15, atol=1e-15)


@given(structures())
def test_no_edge_is_longer_than_the_cutoff(structure):
    lengths = edge_vectors(make_graph(structure, 5.0)).norm(dim=1)
    assert (lengths <= 5.0 + 1e-9).all()
    assert (lengths > 1.0).all()


@given(structures(max_atoms=3))
def test_only_differences_of_positions_count(structure):
    graph = make_graph(structure, 4.0)
    moved = replace(graph, positions=graph.positions + torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64))
    torch.testing.assert_close(edge_vectors(moved), edge_vectors(graph), rtol=0, atol=1e-12)


@given(structures(max_atoms=2, periodicities=("crystal",)))
def test_edges_of_a_strained_crystal(structure):
    # r → r (1 + ε) for positions and cell takes every edge vector along.
    graph = make_graph(structure, 4.0)
    deformation = torch.eye(3, dtype=torch.float64) + 0.01 * torch.arange(9, dtype=torch.float64).reshape(
        3, 3
    )
    strained = replace(graph, positions=graph.positions @ deformation, cell=graph.cell @ deformation)
    torch.testing.assert_close(
        edge_vectors(strained), edge_vectors(graph) @ deformation, rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("leaf", ["positions", "cell"])
def test_gradients(leaf):
    rng = np.random.default_rng(0)
    cell = 3.0 * np.eye(3) + rng.normal(0, 0.2, (3, 3))
    structures = [
        Structure(np.array([1, 2]), rng.uniform(0, 3, (2, 3)), cell, np.array([True, True, False])),
        Structure(np.array([1]), rng.uniform(0, 3, (1, 3)), cell, np.array([True, True, True])),
    ]
    graph = make_graph(structures, 3.5)

    def vectors(value):
        return edge_vectors(replace(graph, **{leaf: value}))

    assert graph.num_edges > 4
    assert torch.autograd.gradcheck(vectors, getattr(graph, leaf).clone().requires_grad_())


def test_a_graph_without_edges_has_no_vectors():
    graph = make_graph(
        Structure(np.array([1]), np.zeros((1, 3)), np.zeros((3, 3)), np.zeros(3, dtype=bool)), 5.0
    )
    assert edge_vectors(graph).shape == (0, 3)


@given(structures())
def test_the_graph_holds_the_neighbour_list(structure):
    graph = make_graph(structure, 4.5)
    sender, receiver, shift = neighbour_list(structure.positions, structure.cell, structure.pbc, 4.5)
    assert graph.sender.tolist() == sender.tolist()
    assert graph.receiver.tolist() == receiver.tolist()
    assert graph.shift.tolist() == shift.tolist()
