"""Neighbours of moving atoms: a list beyond the cutoff, kept until an atom has moved half of the difference."""

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
"""Å. A wider skin is searched less often, and its pairs are measured at every step."""


class VerletList:
    """Graphs of the same structures as their atoms move.

    A pair within the cutoff now was within cutoff + skin when the list was made, as long as no atom has moved by more
    than skin/2 since. The pairs beyond the cutoff are left out of each graph, so that it is the graph that a search at
    these positions would give, edge by edge, in the same order.

    Args:
        structures: species, cells and first positions.
        cutoff: of the graphs, in Å; 0: the potential needs none, and there are no edges.
        backend: what finds the pairs.
        device: of the graphs.
        skin: in Å.

    Attributes:
        searches: how often the neighbours were searched.
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
        """How far each atom is from where it was when the neighbours were searched last, or in the beginning, in Å."""
        moved: Tensor = (positions - self._before).norm(dim=1)
        return moved

    def graph(self, positions: Float64[Tensor, "N 3"], farthest: float | None = None) -> Graph:
        """The graph at these positions.

        Args:
            positions: of all atoms, unwrapped: they continue those given before.
            farthest: the largest of `displacements(positions)`, where it is known already.

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
