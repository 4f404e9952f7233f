"""Nonlinearities, along edges and on atoms.

Gates put scalars through SiLU and multiply all else by the sigmoid of a scalar: exactly equivariant.
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
    """SiLU(x) where l = 0, else x · σ(gate_l), with one gate a degree and channel for all orders of the degree.

    Args:
        lmax: highest degree.
        channels: of the features; lmax times as many gates are needed.
    """

    def __init__(self, lmax: int, channels: int) -> None:
        super().__init__()
        self.lmax = lmax
        self.extra = lmax * channels

    def forward(self, gates: Float[Tensor, "E extra"], orders: Orders) -> Orders:
        """Apply to features in the edge frame; the gates are degree-major."""
        gate = torch.sigmoid(gates).view(-1, 1, self.lmax, orders[0].shape[3])
        scalars, axial = split(orders[0], [1, self.lmax], dim=2)
        gated = [concatenate([nn.functional.silu(scalars), axial * gate], dim=2)]
        for m, x in enumerate(orders[1:], start=1):
            gate = gate if m == 1 else split(gate, [1, self.lmax - m + 1], dim=2)[1]  # degrees l ≥ m
            gated.append(x * gate)
        return gated


class GatedFeedForward(nn.Module):
    """Linear – gate – linear on every atom; the gates come from its scalars through SiLU and a sigmoid.

    Args:
        lmax: highest degree.
        channels: in and out.
        hidden: in between.
    """

    def __init__(self, lmax: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.gates = nn.Linear(channels, lmax * hidden)
        self.up = SO3Linear(lmax, channels, hidden)
        self.down = SO3Linear(lmax, hidden, channels)

    def forward(self, x: Float[Tensor, "N K C"]) -> Float[Tensor, "N K C"]:
        """The update of every atom."""
        scalars, rest = split_scalars(self.up(x))
        gate = torch.sigmoid(nn.functional.silu(self.gates(x[:, 0])))
        gate = expand_degrees(gate.view(x.shape[0], -1, rest.shape[2]), first=1)  # (N, K − 1, H)
        activated = concatenate([nn.functional.silu(scalars), rest * gate], dim=1)
        update: Tensor = self.down(activated)
        return update


def make_edge_activation(spec: ModelSpec) -> GatedEdges | GridEdges:
    """What stands between the two convolutions of a message; its `extra` says how many scalars it needs."""
    match spec.nonlinearity:
        case GateSpec() | GridSpec():
            return GatedEdges(spec.lmax, spec.hidden_channels)
        case GridEdgesSpec(resolution=resolution):
            return GridEdges(spec.lmax, spec.mmax, spec.hidden_channels, resolution)
        case _:
            assert_never(spec.nonlinearity)


def make_feed_forward(spec: ModelSpec) -> GatedFeedForward | GridFeedForward:
    """What every atom does by itself in a block."""
    match spec.nonlinearity:
        case GateSpec() | GridEdgesSpec(feed_forward="gate"):
            return GatedFeedForward(spec.lmax, spec.sphere_channels, spec.hidden_channels)
        case GridSpec(resolution=resolution) | GridEdgesSpec(resolution=resolution):
            return GridFeedForward(spec.lmax, spec.sphere_channels, spec.hidden_channels, resolution)
        case _:
            assert_never(spec.nonlinearity)
