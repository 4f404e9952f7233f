"""Edge vectors and neighbour lists."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import assert_never

import torch
from jaxtyping import Float64
from torch import Tensor

from esen.data.neighbours import neighbour_list
from esen.graph.types import Graph
from esen.recipe.model import CutoffGraphSpec, GraphSpec, NearestGraphSpec


def edge_vectors(graph: Graph) -> Float64[Tensor, "E 3"]:
    """From receiver to the sender's image, in Å: r_sender + shift · cell − r_receiver.

    The formula stands nowhere else.
    """
    cell = graph.cell[graph.structure[graph.receiver]]  # (E, 3, 3)
    offset = (graph.shift.unsqueeze(1) @ cell).squeeze(1)
    return graph.positions[graph.sender] + offset - graph.positions[graph.receiver]


TIE = 1e-6
"""Å. An edge as long as the last that is kept, up to this, is kept too."""


def nearest_edges(graph: Graph, k: int) -> Graph:
    """The graph with only the k shortest edges into each atom, and those that tie with the k-th.

    Keeping ties makes the choice independent of the order of atoms and of the orientation of a symmetric crystal.
    As an atom moves, neighbours enter and leave at full strength: the energy jumps. An atom may receive from one
    that does not receive from it.

    Args:
        graph: with every edge up to the cutoff.
        k: at least one.
    """
    with torch.no_grad():
        distance = edge_vectors(graph).norm(dim=1)
        by_distance = torch.argsort(distance, stable=True)
        order = by_distance[torch.argsort(graph.receiver[by_distance], stable=True)]
        counts = torch.bincount(graph.receiver, minlength=graph.num_atoms)
        last = counts.cumsum(0) - counts + (k - 1)  # of each atom, where its k-th edge stands in `order`
        limit = distance.new_full((graph.num_atoms,), float("inf"))
        limited = counts > k
        limit[limited] = distance[order[last[limited]]]
        keep = distance <= limit[graph.receiver] + TIE
    return replace(graph, sender=graph.sender[keep], receiver=graph.receiver[keep], shift=graph.shift[keep])


def _every_edge(graph: Graph) -> Graph:
    return graph


def make_edge_selection(spec: GraphSpec) -> Callable[[Graph], Graph]:
    """Which of the edges up to the cutoff a recipe's potential uses."""
    match spec:
        case CutoffGraphSpec():
            return _every_edge
        case NearestGraphSpec(k=k):
            return partial(nearest_edges, k=k)
        case _:
            assert_never(spec)


__all__ = ["edge_vectors", "make_edge_selection", "nearest_edges", "neighbour_list"]
