"""The frame of every edge: made once a graph, used by every block.

In the edge frame a feature is a list over |m|. Entry 0 is (E, 1, lmax+1, C); entry m > 0 is (E, 2, lmax−m+1, C), first
+m then −m. That is the order in which the SO(2) convolution multiplies, so nothing is ever permuted.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from esen.models.concatenation import concatenate, split, split_rows
from esen.models.radial import EdgeScalars
from esen.models.so2 import Orders
from esen.models.so3 import by_degree


@dataclass(frozen=True, eq=False)
class EdgeFrame:
    """Rotations, envelope and scalar features of E edges between N atoms.

    Attributes:
        sender: neighbour of each edge.
        receiver: central atom of each edge.
        num_atoms: N; a symbol where the network is compiled for any number.
        wigner: for each l, the rows |m| ≤ mmax of D^l that turns the edge onto the polar axis.
        inverse: for each l, u · (D^l)ᵀ.
        scalars: what the radial networks read.
    """

    sender: Int64[Tensor, " E"]
    receiver: Int64[Tensor, " E"]
    num_atoms: int | torch.SymInt
    wigner: tuple[Float[Tensor, "E _rows _columns"], ...]
    inverse: tuple[Float[Tensor, "E _columns _rows"], ...]
    scalars: EdgeScalars

    @property
    def lmax(self) -> int:
        """Highest degree."""
        return len(self.wigner) - 1

    @property
    def mmax(self) -> int:
        """Highest order kept in the edge frame."""
        return int(self.wigner[-1].shape[1]) // 2

    def to_edges(self, x: Float[Tensor, "N K C"]) -> Orders:
        """[x_sender | x_receiver] in the frame of each edge."""
        turned = []
        for d, part in zip(self.wigner, by_degree(x), strict=True):
            # Looked up first, then rounded to the precision of the products: the derivative of a look-up is a sum.
            pair = [part.index_select(0, atom).to(d.dtype) for atom in (self.sender, self.receiver)]
            turned.append(split_rows(_turn(d, concatenate(pair, dim=2))))
        orders = []
        for m in range(self.mmax + 1):
            signs = (m, -m) if m else (0,)
            rows = [turned[l][min(l, self.mmax) + s] for s in signs for l in range(m, self.lmax + 1)]
            orders.append(concatenate(rows, dim=1).unflatten(1, (len(signs), -1)))
        return orders

    def to_atoms(self, orders: Orders) -> Float[Tensor, "N K C"]:
        """Turn messages back, fade them by the envelope, and add those of each receiver."""
        rows = [split_rows(x.flatten(1, 2)) for x in orders]
        sums = []
        for l, inverse in enumerate(self.inverse):
            kept = min(l, self.mmax)
            negative = [rows[m][(self.lmax - m + 1) + l - m] for m in range(kept, 0, -1)]
            positive = [rows[m][l - m] for m in range(kept + 1)]
            sums.append(self._sum(_turn(inverse, concatenate([*negative, *positive], dim=1))))
        return concatenate(sums, dim=1)

    def axial_to_atoms(self, axial: Float[Tensor, "E degrees C"]) -> Float[Tensor, "N K C"]:
        """The same for messages with m = 0 alone: u · Y_l(n) times a number a degree."""
        sums = []
        for l, (inverse, weight) in enumerate(zip(self.inverse, split_rows(axial), strict=True)):
            kept = min(l, self.mmax)
            column = split(inverse, [kept, 1, kept], dim=2)[1]  # (E, 2l+1, 1)
            sums.append(self._sum(column * weight))
        return concatenate(sums, dim=1)

    def _sum(self, messages: Float[Tensor, "E rows C"]) -> Float[Tensor, "N rows C"]:
        kept = self.scalars.radial.dtype  # sums are not rounded to that of the products
        zeros = messages.new_zeros((self.num_atoms, *messages.shape[1:]), dtype=kept)
        return zeros.index_add(0, self.receiver, messages.to(kept))


def _turn(matrix: Float[Tensor, "E _out _in"], x: Float[Tensor, "E _in C"]) -> Float[Tensor, "E _out C"]:
    """A matrix an edge times its features; of degree 0 it is a number."""
    return matrix * x if matrix.shape[1:] == (1, 1) else torch.bmm(matrix, x)
