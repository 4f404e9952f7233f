"""Radial bases, and the network that computes radial weights from distance and species."""

from dataclasses import dataclass
from typing import assert_never

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from esen.models.envelope import polynomial_envelope
from esen.models.norm import LayerNorm
from esen.recipe.model import BesselSpec, GaussianSpec, RadialSpec


class GaussianBasis(nn.Module):
    """g_k(d) = exp(−(d − μ_k)² / 2σ²), with μ_k evenly spaced on [0, cutoff] and σ = width × spacing.

    μ is stored in float32, so that a model computes the same function in either precision.

    Args:
        cutoff: largest distance in Å.
        count: number of Gaussians.
        width: σ in units of the spacing.
    """

    centers: Tensor

    def __init__(self, cutoff: float, count: int, width: float) -> None:
        super().__init__()
        self.count = count
        self.width = width
        self.register_buffer("centers", torch.linspace(0, cutoff, count, dtype=torch.float32))

    def forward(self, distance: Float[Tensor, " E"]) -> Float[Tensor, "E count"]:
        """Expand distances."""
        sigma = self.width * (self.centers[1] - self.centers[0])
        return torch.exp(-0.5 * ((distance[:, None] - self.centers) / sigma).square())


class BesselBasis(nn.Module):
    """g_k(d) = u(t) √(2/r_c³) sin(ω_k t)/t with t = d/r_c; u is the polynomial envelope with p = 5.

    The frequencies ω_k are trained; they start at kπ.

    Args:
        cutoff: r_c in Å.
        count: number of functions.
    """

    def __init__(self, cutoff: float, count: int) -> None:
        super().__init__()
        self.count = count
        self.cutoff = cutoff
        self.frequencies = nn.Parameter(
            torch.pi * torch.arange(1, count + 1, dtype=torch.get_default_dtype())
        )

    def forward(self, distance: Float[Tensor, " E"]) -> Float[Tensor, "E count"]:
        """Expand distances."""
        t = (distance / self.cutoff)[:, None]
        norm: float = (2 / self.cutoff**3) ** 0.5
        return polynomial_envelope(t) * norm * torch.sin(self.frequencies * t) / t


def make_radial(spec: RadialSpec, cutoff: float) -> GaussianBasis | BesselBasis:
    """Return the radial basis of a recipe."""
    match spec:
        case GaussianSpec(count=count, width=width):
            return GaussianBasis(cutoff, count, width)
        case BesselSpec(count=count):
            return BesselBasis(cutoff, count)
        case _:
            assert_never(spec)


@dataclass(frozen=True, eq=False)
class EdgeScalars:
    """Inputs of the radial networks: the expanded distance and the two species of each edge.

    Attributes:
        radial: expanded distances.
        sender: row of the neighbour's species in `sender_table`.
        receiver: row of the central atom's species in `receiver_table`.
        sender_table: embeddings of the species as neighbours.
        receiver_table: embeddings of the species as central atoms.
    """

    radial: Float[Tensor, "E basis"]
    sender: Int64[Tensor, " E"]
    receiver: Int64[Tensor, " E"]
    sender_table: Float[Tensor, "Z embedding"]
    receiver_table: Float[Tensor, "Z embedding"]


class RadialMLP(nn.Module):
    """Linear – LayerNorm – SiLU – Linear – LayerNorm – SiLU – Linear on [g(d) | species of j | species of i].

    The first matrix multiplies the species embeddings once per row of the tables, not once per edge.

    Args:
        basis: number of radial functions.
        embedding: width of each species embedding and of the hidden layers.
        outputs: number of outputs per edge.
    """

    def __init__(self, basis: int, embedding: int, outputs: int) -> None:
        super().__init__()
        self.split = (basis, embedding, embedding)
        self.first = nn.Linear(sum(self.split), embedding)
        self.rest = nn.Sequential(
            LayerNorm(embedding),
            nn.SiLU(),
            nn.Linear(embedding, embedding),
            LayerNorm(embedding),
            nn.SiLU(),
            nn.Linear(embedding, outputs),
        )

    def forward(self, edges: EdgeScalars) -> Float[Tensor, "E outputs"]:
        """Return the weights of every edge."""
        w_radial, w_sender, w_receiver = self.first.weight.split(self.split, dim=1)
        dtype = self.first.weight.dtype  # the derivative of a look-up is a sum over edges, in this precision
        sender = (edges.sender_table @ w_sender.T).to(dtype).index_select(0, edges.sender)
        receiver = (edges.receiver_table @ w_receiver.T).to(dtype).index_select(0, edges.receiver)
        hidden = nn.functional.linear(edges.radial, w_radial, self.first.bias) + sender + receiver
        weights: Tensor = self.rest(hidden)
        return weights
