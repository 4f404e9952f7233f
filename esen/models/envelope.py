"""Envelopes: functions of the distance by which an edge fades towards the cutoff."""

from collections.abc import Callable
from functools import partial
from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from esen.recipe.model import EnvelopeSpec, NoEnvelopeSpec, PolynomialEnvelopeSpec, SmoothEnvelopeSpec

Envelope = Callable[[Float[Tensor, " E"]], Float[Tensor, " E"]]


def polynomial_envelope(t: Float[Tensor, "*shape"], p: int = 5) -> Float[Tensor, "*shape"]:
    """u(t) = 1 − (p+1)(p+2)/2 t^p + p(p+2) t^{p+1} − p(p+1)/2 t^{p+2} for t < 1, else 0.

    u, u′ and u″ vanish at t = 1; u‴ does not. Source: Gasteiger et al., "Directional message passing" (2020), where u
    is divided by t, so that the exponent is p − 1.

    Args:
        t: distance in units of the cutoff.
        p: order.
    """
    a, b, c = (p + 1) * (p + 2) / 2, p * (p + 2), p * (p + 1) / 2
    return torch.where(t < 1, 1 - t**p * (a - t * (b - c * t)), torch.zeros_like(t))


def smooth_envelope(t: Float[Tensor, " E"], p: int = 2) -> Float[Tensor, " E"]:
    """u(t) = exp(−t^p / (1 − t^p)) for t < 1, else 0. All derivatives exist, and they vanish at t = 1.

    Args:
        t: distance in units of the cutoff.
        p: order; for even orders u is also smooth at t = 0, as a function of the position.
    """
    power = t**p
    inside = power < 1 - 1e-3  # beyond this, u is below e⁻⁹⁹⁹, which is zero in any precision
    power = torch.where(inside, power, torch.zeros_like(power))
    return torch.where(inside, torch.exp(-power / (1 - power)), torch.zeros_like(t))


def make_envelope(spec: EnvelopeSpec) -> Envelope:
    """Return the function u(d / cutoff) of a recipe."""
    match spec:
        case PolynomialEnvelopeSpec(p=p):
            return partial(polynomial_envelope, p=p)
        case NoEnvelopeSpec():
            return torch.ones_like
        case SmoothEnvelopeSpec(p=p):
            return partial(smooth_envelope, p=p)
        case _:
            assert_never(spec)
