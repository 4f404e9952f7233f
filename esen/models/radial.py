"""Radial bases, and the network that turns distance and species into weights."""

from dataclasses import dataclass
from typing import assert_never

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from esen.models.envelope import polynomial_envelope
from esen.models.norm import LayerNorm
from esen.recipe.model import BesselSpec, GaussianSpec, RadialSpec


class GaussianBasis(nn.Module):
    """g_k(d) = exp(−(d − μ_k)² / 2σ²), μ_k evenly on [0, cutoff] and σ = width × spacing.

    μ is rounded to float32 from the start, so that a model computes the same function in either precision.

    Args:
        cutoff: in Å.
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
    """g_k(d) = u(t) √(2/r_c³) sin(ω_k t)/t with t = d/r_c; ω_k learnable, at first kπ; u polynomial with p = 5.

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
    """The basis that a recipe names."""
    match spec:
        case GaussianSpec(count=count, width=width):
            return GaussianBasis(cutoff, count, width)
        case BesselSpec(count=count):
            return BesselBasis(cutoff, count)
        case _:
            assert_never(spec)


@dataclass(frozen=True, eq=False)
class EdgeScalars:
    """What every radial network reads: the expanded distance and the two species of each edge.

    Attributes:
        radial: expanded distances.
        sender: species of the neighbour, as a row of `sender_table`.
        receiver: species of the central atom, as a row of `receiver_table`.
        sender_table: embeddings of the species present as neighbours.
        receiver_table: embeddings of the species present as central atoms.
    """

    radial: Float[Tensor, "E basis"]
    sender: Int64[Tensor, " E"]
    receiver: Int64[Tensor, " E"]
    sender_table: Float[Tensor, "Z embedding"]
    receiver_table: Float[Tensor, "Z embedding"]


class RadialMLP(nn.Module):
    """Linear – LayerNorm – SiLU – Linear – LayerNorm – SiLU – Linear on [g(d) | species of j | species of i].

    The first matrix meets the species once a row of the tables, not once an edge: most of its input is a look-up.

    Args:
        basis: number of radial functions.
        embedding: width of each species embedding, and of the hidden layers.
        outputs: numbers wanted an edge.
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
        """Weights of every edge."""
        w_radial, w_sender, w_receiver = self.first.weight.split(self.split, dim=1)
        kept = self.first.weight.dtype  # look-ups are added up when they are differentiated, over all edges
        sender = (edges.sender_table @ w_sender.T).to(kept).index_select(0, edges.sender)
        receiver = (edges.receiver_table @ w_receiver.T).to(kept).index_select(0, edges.receiver)
        hidden = nn.functional.linear(edges.radial, w_radial, self.first.bias) + sender + receiver
        weights: Tensor = self.rest(hidden)
        return weights
