"""Finite differences: derivatives with an estimate of their error, and the noise of a series of values."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import comb

import numpy as np
from jaxtyping import Float64

OFFSETS = (-3, -2, -1, 1, 2, 3)
_SIXTH = np.array([-1, 9, -45, 45, -9, 1]) / 60
_FOURTH = np.array([0, 1, -8, 8, -1, 0]) / 12
STEPS = (1e-3, 4e-3, 1.6e-2, 6.4e-2)
"""Steps to try: the error by rounding falls with the step, the error by truncation grows."""
_NOISE_ORDER = 4


@dataclass(frozen=True, eq=False)
class Derivative:
    """Derivatives f′(0) of M functions, with an estimate of their error.

    Attributes:
        value: f′(0), to sixth order in the step.
        error: Largest error of a component: the difference from fourth order plus the effect of noise, and no less
            than the difference from the next finer step beyond noise.
        step: The step whose error is smallest.
    """

    value: Float64[np.ndarray, " M"]
    error: float
    step: float


def derivative(
    function: Callable[[Sequence[float]], Float64[np.ndarray, "K M"]],
    noise: float,
    steps: Sequence[float] = STEPS,
) -> Derivative:
    """Return f′(0) by central differences, at the step whose estimated error is smallest.

    Args:
        function: Values of M functions at K places.
        noise: Standard deviation of each value.
        steps: Steps to choose from, in ascending order.
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


def noise_of(values: Float64[np.ndarray, "K M"]) -> float:
    """Return the largest standard deviation of the noise in M series of K values at equal steps.

    The fourth difference of a smooth function is h⁴ f⁗; that of noise has √C(8, 4) = √70 times its standard
    deviation (Hamming's difference table; Moré and Wild, SIAM J. Sci. Comput. 33, 1292, 2011). Medians are not
    affected by a jump in the series. Values that are all float32 numbers have at least the noise of that rounding, a
    uniform error of one spacing: near equilibrium they may not change at all.
    """
    differences = np.abs(np.diff(values, n=_NOISE_ORDER, axis=0))
    if not differences.size:
        return 0.0
    rounding = 0.0
    if bool((values.astype(np.float32) == values).all()):  # rounded to float32, perhaps to the same number
        rounding = float(np.spacing(np.abs(values).max().astype(np.float32))) / float(np.sqrt(12))
    median = float(np.median(differences, axis=0).max())
    spread = float(np.sqrt(np.mean(np.minimum(differences, 5 * median) ** 2)))
    return max(rounding, max(median / 0.6745, spread) / float(np.sqrt(comb(2 * _NOISE_ORDER, _NOISE_ORDER))))


def _central(values: Float64[np.ndarray, "6 M"], noise: float, step: float) -> Derivative:
    sixth, fourth = _SIXTH @ values / step, _FOURTH @ values / step
    truncation = float(np.abs(sixth - fourth).max(initial=0.0))
    return Derivative(sixth, truncation + _rounding(noise, step), step)


def _rounding(noise: float, step: float) -> float:
    return float(np.linalg.norm(_SIXTH)) * noise / step
