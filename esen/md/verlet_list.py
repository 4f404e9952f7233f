"""Verlet neighbour list: pairs up to cutoff + skin, kept until an atom has moved by half of the skin."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float64
from torch import Tensor

from esen.data.structure import Structure
from esen.graph.batch import collate, make_graphs
from esen.graph.edges import edge_vectors
from esen.graph.types import Graph
from esen.recipe.model import Backend

SKIN = 0.5
"""Skin in Å. A wider skin needs fewer searches, but more distances at every step."""


class VerletList:
    """Makes the graphs of structures whose atoms move.

    As long as no atom has moved by more than skin/2 since the list was made, every pair within the cutoff is in the
    list. Pairs beyond the cutoff are left out of each graph, so that it has the same edges, in the same order, as one
    from a new search at these positions.

    Args:
        structures: species, cells and first positions.
        cutoff: cutoff of the graphs, in Å; 0 gives graphs without edges.
        backend: library that finds the pairs.
        device: device of the graphs.
        skin: in Å.

    Attributes:
        searches: number of neighbour searches so far.
    """

    def __init__(
        self,
        structures: Sequence[Structure],
        cutoff: float,
        backend: Backend,
        device: str,
        skin: float = SKIN,
    ) -> None:
        self.structures = tuple(structures)
        self.cutoff, self.backend, self.device, self.skin = cutoff, backend, device, skin
        self.searches = 0
        self._sizes = [len(structure) for structure in structures]
        first = [torch.tensor(structure.positions, device=device) for structure in structures]
        self._before = torch.cat(first) if first else torch.zeros((0, 3), dtype=torch.float64, device=device)
        self._list: Graph | None = None

    def displacements(self, positions: Float64[Tensor, "N 3"]) -> Float64[Tensor, " N"]:
        """Return how far each atom has moved since the last neighbour search, or since the start, in Å."""
        moved: Tensor = (positions - self._before).norm(dim=1)
        return moved

    def graph(self, positions: Float64[Tensor, "N 3"], farthest: float | None = None) -> Graph:
        """Return the graph at these positions.

        Args:
            positions: of all atoms, not wrapped into the cell.
            farthest: largest of `displacements(positions)`, if it is already known.

        Raises:
            InputError: a position is not finite.
        """
        if farthest is None:
            farthest = float(self.displacements(positions).max()) if len(positions) else 0.0
        if self._list is None or not 2 * farthest <= self.skin:
            self._search(positions)
        assert self._list is not None
        graph = replace(self._list, positions=positions)
        near = edge_vectors(graph).norm(dim=1) <= self.cutoff
        return replace(
            graph, sender=graph.sender[near], receiver=graph.receiver[near], shift=graph.shift[near]
        )

    def _search(self, positions: Float64[Tensor, "N 3"]) -> None:
        pieces = positions.detach().cpu().split(self._sizes)
        moved = [replace(s, positions=p.numpy()) for s, p in zip(self.structures, pieces, strict=True)]
        reach = self.cutoff + self.skin if self.cutoff else 0.0
        self._list = collate(make_graphs(moved, reach, self.backend)).to(self.device)
        self._before = positions.clone()
        self.searches += 1
