"""Nonlinearities of edges and atoms.

Gates apply SiLU to the scalars and multiply the higher degrees by the sigmoid of a scalar, which is exactly
equivariant.
"""

from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor, nn

from esen.models.concatenation import concatenate, split
from esen.models.grid import GridEdges, GridFeedForward
from esen.models.so2 import Orders
from esen.models.so3 import SO3Linear, expand_degrees, split_scalars
from esen.recipe.model import GateSpec, GridEdgesSpec, GridSpec, ModelSpec


class GatedEdges(nn.Module):
    """SiLU(x) where l = 0, else x · σ(gate_l), with one gate per degree and channel, shared by the orders.

    Args:
        lmax: highest degree.
        channels: number of channels of the features; lmax times as many gates are needed.
    """

    def __init__(self, lmax: int, channels: int) -> None:
        super().__init__()
        self.lmax = lmax
        self.extra = lmax * channels

    def forward(self, gates: Float[Tensor, "E extra"], orders: Orders) -> Orders:
        """Apply the nonlinearity to features in the edge frame; the gates are ordered by degree."""
        gate = torch.sigmoid(gates).view(-1, 1, self.lmax, orders[0].shape[3])
        scalars, axial = split(orders[0], [1, self.lmax], dim=2)
        gated = [concatenate([nn.functional.silu(scalars), axial * gate], dim=2)]
        for m, x in enumerate(orders[1:], start=1):
            gate = gate if m == 1 else split(gate, [1, self.lmax - m + 1], dim=2)[1]  # degrees l ≥ m
            gated.append(x * gate)
        return gated


class GatedFeedForward(nn.Module):
    """Linear – gate – linear on every atom; the gates are σ(SiLU(W x_0 + b)) of its scalars x_0.

    Args:
        lmax: highest degree.
        channels: number of input and output channels.
        hidden: number of channels between the two linear maps.
    """

    def __init__(self, lmax: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.gates = nn.Linear(channels, lmax * hidden)
        self.up = SO3Linear(lmax, channels, hidden)
        self.down = SO3Linear(lmax, hidden, channels)

    def forward(self, x: Float[Tensor, "N K C"]) -> Float[Tensor, "N K C"]:
        """Return the update of every atom."""
        scalars, rest = split_scalars(self.up(x))
        gate = torch.sigmoid(nn.functional.silu(self.gates(x[:, 0])))
        gate = expand_degrees(gate.view(x.shape[0], -1, rest.shape[2]), first=1)  # (N, K − 1, H)
        activated = concatenate([nn.functional.silu(scalars), rest * gate], dim=1)
        update: Tensor = self.down(activated)
        return update


def make_edge_activation(spec: ModelSpec) -> GatedEdges | GridEdges:
    """Return the nonlinearity between the two convolutions of a message; it needs `extra` additional scalars."""
    match spec.nonlinearity:
        case GateSpec() | GridSpec():
            return GatedEdges(spec.lmax, spec.hidden_channels)
        case GridEdgesSpec(resolution=resolution):
            return GridEdges(spec.lmax, spec.mmax, spec.hidden_channels, resolution)
        case _:
            assert_never(spec.nonlinearity)


def make_feed_forward(spec: ModelSpec) -> GatedFeedForward | GridFeedForward:
    """Return the feed-forward network of a block, which acts on every atom separately."""
    match spec.nonlinearity:
        case GateSpec() | GridEdgesSpec(feed_forward="gate"):
            return GatedFeedForward(spec.lmax, spec.sphere_channels, spec.hidden_channels)
        case GridSpec(resolution=resolution) | GridEdgesSpec(resolution=resolution):
            return GridFeedForward(spec.lmax, spec.sphere_channels, spec.hidden_channels, resolution)
        case _:
            assert_never(spec.nonlinearity)
