"""The k nearest neighbours are a selection of the edges of the cutoff graph."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esen.data.structure import Structure
from esen.graph.batch import make_graph
from esen.graph.edges import TIE, edge_vectors, nearest_edges
from tests.strategies import structures


@given(batch=st.lists(structures(), min_size=1, max_size=3), k=st.integers(1, 12))
def test_keeps_the_nearest_of_each_atom_and_their_ties(batch: list[Structure], k: int) -> None:
    graph = make_graph(batch, 4.0)
    pruned = nearest_edges(graph, k)
    full, kept = edge_vectors(graph).norm(dim=1), edge_vectors(pruned).norm(dim=1)
    for atom in range(graph.num_atoms):
        distances = np.sort(full[graph.receiver == atom].numpy())
        ours = np.sort(kept[pruned.receiver == atom].numpy())
        limit = distances[k - 1] + TIE if len(distances) > k else np.inf
        assert np.array_equal(ours, distances[distances <= limit])
    assert bool((pruned.receiver.diff() >= 0).all())


@pytest.mark.parametrize(("k", "kept"), [(1, 12), (12, 12), (13, 18), (18, 18), (100, 18)])
def test_a_shell_stays_whole(k: int, kept: int) -> None:
    fcc = np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]]) * 1.8
    graph = make_graph(Structure(np.array([29]), np.zeros((1, 3)), fcc, np.ones(3, dtype=bool)), 3.9)
    assert graph.num_edges == 18
    assert nearest_edges(graph, k).num_edges == kept


def test_no_edges() -> None:
    atom = Structure(np.array([8]), np.zeros((1, 3)), np.zeros((3, 3)), np.zeros(3, dtype=bool))
    assert nearest_edges(make_graph(atom, 4.0), 3).num_edges == 0


def test_everything_else_of_the_graph_stays() -> None:
    fcc = np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]]) * 1.8
    graph = make_graph(Structure(np.array([29]), np.zeros((1, 3)), fcc, np.ones(3, dtype=bool)), 3.9)
    pruned = nearest_edges(graph, 1)
    back = replace(pruned, sender=graph.sender, receiver=graph.receiver, shift=graph.shift)
    assert all(torch.equal(a, b) for a, b in zip(vars(back).values(), vars(graph).values(), strict=True))
