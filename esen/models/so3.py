"""Spherical-harmonic coefficients of atoms, and linear maps that act on all orders of a degree alike.

The features of the atoms are x: (N, K, C) with K = (lmax + 1)², ordered by degree l and then by m = −l … l.
"""

from math import isqrt

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from esen.models.concatenation import concatenate, split
from esen.models.constants import constant


def by_degree(x: Float[Tensor, "N K C"]) -> tuple[Float[Tensor, "N _orders C"], ...]:
    """Split the coefficients into degrees l = 0, 1, …, each (N, 2l + 1, C)."""
    lmax = isqrt(x.shape[1]) - 1
    return split(x, [2 * l + 1 for l in range(lmax + 1)], dim=1)


def split_scalars(x: Float[Tensor, "N K C"]) -> tuple[Float[Tensor, "N 1 C"], Float[Tensor, "N rest C"]]:
    """Split the scalars (l = 0) from the higher degrees."""
    scalars, rest = split(x, [1, x.shape[1] - 1], dim=1)
    return scalars, rest


def expand_degrees(values: Float[Tensor, "... degrees C"], first: int = 0) -> Float[Tensor, "... rows C"]:
    """Repeat the row of each degree l = first, first + 1, … 2l + 1 times, once per order."""
    return values.index_select(-2, _row_degrees(first, values.shape[-2], values.device))


@constant
def _row_degrees(first: int, degrees: int, device: torch.device) -> Int64[Tensor, " rows"]:
    """Return the index of the degree of each row, for degrees l = first, first + 1, … with 2l + 1 rows each."""
    index = [i for i in range(degrees) for _ in range(2 * (first + i) + 1)]
    return torch.tensor(index, device=device)


class SO3Linear(nn.Module):
    """y_lm = W_l x_lm (+ b where l = 0), with one matrix per degree, shared by its orders.

    It is the linear layer of Equiformer and eSCN.

    Args:
        lmax: highest degree.
        inputs: number of input channels.
        outputs: number of output channels.
    """

    def __init__(self, lmax: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.lmax = lmax
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(lmax + 1, outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Float[Tensor, "N K inputs"]) -> Float[Tensor, "N K outputs"]:
        """Apply the map to every atom."""
        biases = [self.bias, *[None] * self.lmax]
        parts = zip(by_degree(x), self.weight.unbind(), biases, strict=True)
        return concatenate([nn.functional.linear(part, weight, bias) for part, weight, bias in parts], dim=1)


class VectorHead(nn.Module):
    """One vector per atom: the l = 1 part of a linear map of its features to one channel.

    Args:
        channels: number of channels of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = SO3Linear(1, channels, 1)

    def forward(self, x: Float[Tensor, "N K C"]) -> Float[Tensor, "N 3"]:
        """Return the vector of every atom."""
        vectors: Tensor = self.linear(concatenate(by_degree(x)[:2], dim=1))[:, 1:, 0]
        return vectors
