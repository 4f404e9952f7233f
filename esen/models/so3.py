"""Spherical-harmonic coefficients of atoms, and linear maps that treat every order of a degree alike.

A node feature is x: (N, K, C) with K = (lmax + 1)², degree after degree and m = −l … l within one.
"""

from math import isqrt

import torch
from jaxtyping import Float
from torch import Tensor, nn

from esen.models.concatenation import concatenate, split


def by_degree(x: Float[Tensor, "N K C"]) -> tuple[Float[Tensor, "N _orders C"], ...]:
    """The coefficients of l = 0, 1, …, each (N, 2l + 1, C)."""
    lmax = isqrt(x.shape[1]) - 1
    return split(x, [2 * l + 1 for l in range(lmax + 1)], dim=1)


def split_scalars(x: Float[Tensor, "N K C"]) -> tuple[Float[Tensor, "N 1 C"], Float[Tensor, "N rest C"]]:
    """L = 0, and all else."""
    scalars, rest = split(x, [1, x.shape[1] - 1], dim=1)
    return scalars, rest


def expand_degrees(values: Float[Tensor, "... degrees C"], first: int = 0) -> Float[Tensor, "... rows C"]:
    """Repeat the row of each degree l = first, first + 1, … for its 2l + 1 orders."""
    degrees = range(first, first + values.shape[-2])
    index = [i for i, l in enumerate(degrees) for _ in range(2 * l + 1)]
    return values.index_select(-2, torch.tensor(index, device=values.device))


class SO3Linear(nn.Module):
    """y_lm = W_l x_lm, and + b where l = 0. One matrix a degree, shared by its orders (REFERENCE: eSCN, Equiformer).

    Args:
        lmax: highest degree.
        inputs: channels in.
        outputs: channels out.
    """

    def __init__(self, lmax: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.lmax = lmax
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(lmax + 1, outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Float[Tensor, "N K inputs"]) -> Float[Tensor, "N K outputs"]:
        """Apply W_l degree by degree."""
        biases = [self.bias, *[None] * self.lmax]
        parts = zip(by_degree(x), self.weight.unbind(), biases, strict=True)
        return concatenate([nn.functional.linear(part, weight, bias) for part, weight, bias in parts], dim=1)


class VectorHead(nn.Module):
    """A vector an atom: the l = 1 part of a linear map from its features to one channel.

    Args:
        channels: of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = SO3Linear(1, channels, 1)

    def forward(self, x: Float[Tensor, "N K C"]) -> Float[Tensor, "N 3"]:
        """The vector of every atom."""
        vectors: Tensor = self.linear(concatenate(by_degree(x)[:2], dim=1))[:, 1:, 0]
        return vectors
