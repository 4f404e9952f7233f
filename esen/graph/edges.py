"""Edge vectors and neighbour lists."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import assert_never

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from esen.data.neighbours import neighbour_list
from esen.graph.types import Graph
from esen.recipe.model import CutoffGraphSpec, GraphSpec, NearestGraphSpec


def edge_vectors(graph: Graph) -> Float64[Tensor, "E 3"]:
    """Return the vectors from each receiver to the image of its sender, r_sender + shift · cell − r_receiver, in Å.

    All other code computes edge vectors by this function.
    """
    cell = graph.cell[graph.structure[graph.receiver]]  # (E, 3, 3)
    offset = (graph.shift.unsqueeze(1) @ cell).squeeze(1)
    return graph.positions[graph.sender] + offset - graph.positions[graph.receiver]


def count_of(index: Int64[Tensor, " items"], count: int) -> Int64[Tensor, " {count}"]:
    """Return how often each of 0 … count − 1 occurs. Unlike `torch.bincount`, it does not wait for a GPU."""
    return index.new_zeros(count).index_add(0, index, torch.ones_like(index))


TIE = 1e-6
"""Two edges tie if their lengths differ by less than this, in Å."""


def nearest_edges(graph: Graph, k: int) -> Graph:
    """Return the graph with only the k shortest edges into each atom and those that tie with the k-th.

    Because ties are kept, the selection does not depend on the order of atoms or the orientation of a symmetric
    crystal. The energy is discontinuous: a neighbour enters or leaves the selection with its full contribution. An edge
    may be kept in one direction only.

    Args:
        graph: a graph with every edge up to the cutoff.
        k: number of edges, at least one.
    """
    with torch.no_grad():
        distance = edge_vectors(graph).norm(dim=1)
        by_distance = torch.argsort(distance, stable=True)
        order = by_distance[torch.argsort(graph.receiver[by_distance], stable=True)]
        counts = count_of(graph.receiver, graph.num_atoms)
        last = counts.cumsum(0) - counts + (k - 1)  # place of the k-th edge of each atom in `order`
        limit = distance.new_full((graph.num_atoms,), float("inf"))
        limited = counts > k
        limit[limited] = distance[order[last[limited]]]
        keep = distance <= limit[graph.receiver] + TIE
    return replace(graph, sender=graph.sender[keep], receiver=graph.receiver[keep], shift=graph.shift[keep])


def _every_edge(graph: Graph) -> Graph:
    return graph


def make_edge_selection(spec: GraphSpec) -> Callable[[Graph], Graph]:
    """Return the function that selects, of all edges up to the cutoff, those that the potential of a recipe uses."""
    match spec:
        case CutoffGraphSpec():
            return _every_edge
        case NearestGraphSpec(k=k):
            return partial(nearest_edges, k=k)
        case _:
            assert_never(spec)


__all__ = ["count_of", "edge_vectors", "make_edge_selection", "nearest_edges", "neighbour_list"]
