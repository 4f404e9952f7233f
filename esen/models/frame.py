"""The frames of the edges, computed once per graph and used by every block.

In the edge frame, features are a list over |m|. Entry 0 is (E, 1, lmax+1, C); entry m > 0 is (E, 2, lmax−m+1, C), with
+m before −m. The SO(2) convolution multiplies in this order, so nothing has to be permuted.
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
        sender: index of the neighbour of each edge.
        receiver: index of the central atom of each edge.
        num_atoms: N; a symbol while the network is compiled for any number of atoms.
        wigner: for each l, the rows |m| ≤ mmax of the D^l that rotates the edge onto the polar axis.
        inverse: for each l, u · (D^l)ᵀ.
        scalars: inputs of the radial networks.
    """

    sender: Int64[Tensor, " E"]
    receiver: Int64[Tensor, " E"]
    num_atoms: int | torch.SymInt
    wigner: tuple[Float[Tensor, "E _rows _columns"], ...]
    inverse: tuple[Float[Tensor, "E _columns _rows"], ...]
    scalars: EdgeScalars

    @property
    def lmax(self) -> int:
        """The highest degree."""
        return len(self.wigner) - 1

    @property
    def mmax(self) -> int:
        """The highest order in the edge frame."""
        return int(self.wigner[-1].shape[1]) // 2

    def to_edges(self, x: Float[Tensor, "N K C"]) -> Orders:
        """Return [x_sender | x_receiver] in the frame of each edge."""
        rotated = []
        for d, part in zip(self.wigner, by_degree(x), strict=True):
            # Rounded to the precision of the products after the look-up, whose derivative is a sum.
            pair = [part.index_select(0, atom).to(d.dtype) for atom in (self.sender, self.receiver)]
            rotated.append(split_rows(_rotate(d, concatenate(pair, dim=2))))
        orders = []
        for m in range(self.mmax + 1):
            signs = (m, -m) if m else (0,)
            rows = [rotated[l][min(l, self.mmax) + s] for s in signs for l in range(m, self.lmax + 1)]
            orders.append(concatenate(rows, dim=1).unflatten(1, (len(signs), -1)))
        return orders

    def to_atoms(self, orders: Orders) -> Float[Tensor, "N K C"]:
        """Rotate messages back, multiply them by the envelope, and sum them at their receivers."""
        rows = [split_rows(x.flatten(1, 2)) for x in orders]
        sums = []
        for l, inverse in enumerate(self.inverse):
            kept = min(l, self.mmax)
            negative = [rows[m][(self.lmax - m + 1) + l - m] for m in range(kept, 0, -1)]
            positive = [rows[m][l - m] for m in range(kept + 1)]
            sums.append(self._sum(_rotate(inverse, concatenate([*negative, *positive], dim=1))))
        return concatenate(sums, dim=1)

    def axial_to_atoms(self, axial: Float[Tensor, "E degrees C"]) -> Float[Tensor, "N K C"]:
        """Do the same for messages that have only m = 0: u · Y_l(n) times one number per degree and channel."""
        sums = []
        for l, (inverse, weight) in enumerate(zip(self.inverse, split_rows(axial), strict=True)):
            kept = min(l, self.mmax)
            column = split(inverse, [kept, 1, kept], dim=2)[1]  # (E, 2l+1, 1)
            sums.append(self._sum(column * weight))
        return concatenate(sums, dim=1)

    def _sum(self, messages: Float[Tensor, "E rows C"]) -> Float[Tensor, "N rows C"]:
        """Sum messages at their receivers, in the precision of the network and not in that of the products."""
        dtype = self.scalars.radial.dtype
        zeros = messages.new_zeros((self.num_atoms, *messages.shape[1:]), dtype=dtype)
        return zeros.index_add(0, self.receiver, messages.to(dtype))


def _rotate(matrix: Float[Tensor, "E _out _in"], x: Float[Tensor, "E _in C"]) -> Float[Tensor, "E _out C"]:
    """Multiply the features of each edge by its matrix, which for l = 0 is a number."""
    return matrix * x if matrix.shape[1:] == (1, 1) else torch.bmm(matrix, x)
