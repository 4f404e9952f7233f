"""Derivatives by finite differences, with an estimate of their error."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

OFFSETS = (-3, -2, -1, 1, 2, 3)
_SIXTH = np.array([-1, 9, -45, 45, -9, 1]) / 60
_FOURTH = np.array([0, 1, -8, 8, -1, 0]) / 12
STEPS = (1e-3, 4e-3, 1.6e-2, 6.4e-2)
"""Tried in turn: the effect of rounding falls with the step, that of truncation grows."""


@dataclass(frozen=True, eq=False)
class Derivative:
    """f′(0), and how far it may be off.

    Attributes:
        value: to sixth order in the step.
        error: its difference from fourth order plus the effect of noise, of the component that is worst; no less than
            its difference from the next finer step, beyond noise.
        step: whose error is smallest.
    """

    value: Float64[np.ndarray, " M"]
    error: float
    step: float


def derivative(
    function: Callable[[Sequence[float]], Float64[np.ndarray, "K M"]],
    noise: float,
    steps: Sequence[float] = STEPS,
) -> Derivative:
    """f′(0) by central differences, at the step whose estimated error is smallest.

    Args:
        function: M functions at K places.
        noise: standard deviation of each.
        steps: to choose from, ascending.
    """
    values = function([step * offset for step in steps for offset in OFFSETS])
    tables = values.reshape(len(steps), len(OFFSETS), values.shape[1])
    found: list[Derivative] = []
    for table, step in zip(tables, steps, strict=True):
        new = _central(table, noise, step)
        if found:
            finer = found[-1]
            apart = float(np.abs(new.value - finer.value).max(initial=0.0)) - 3 * _rounding(noise, finer.step)
            new = replace(new, error=max(new.error, apart))
        found.append(new)
    return min(found, key=lambda d: d.error)


def _central(values: Float64[np.ndarray, "6 M"], noise: float, step: float) -> Derivative:
    sixth, fourth = _SIXTH @ values / step, _FOURTH @ values / step
    truncation = float(np.abs(sixth - fourth).max(initial=0.0))
    return Derivative(sixth, truncation + _rounding(noise, step), step)


def _rounding(noise: float, step: float) -> float:
    return float(np.linalg.norm(_SIXTH)) * noise / step
