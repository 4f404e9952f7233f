"""How an energy wanders without a direction: growth of ⟨ΔE²⟩ with the lag, and the diffusion constant of a random walk.

A slope does not see a random walk. The mean squared change ⟨(E(t + τ) − E(t))²⟩ ∝ τ^α does: its exponent α is 0 for an
energy that fluctuates about a constant, 1 for a random walk, and 2 for a steady drift.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.special import chdtri, stdtrit

CELLS = 64
"""Number of means over neighbouring rows from which the growth is computed. Means suppress what fluctuates fast."""
_WAVES = 8
"""Number of cosines from which the diffusion constant is computed."""

Rows = Float64[np.ndarray, " rows"]


@dataclass(frozen=True)
class Walk:
    """Growth of the mean squared change of a series. All are NaN for fewer than 20 rows or a constant.

    Attributes:
        exponent: α of ⟨ΔE²⟩ ∝ τ^α.
        exponent_error: half of its 95 % confidence interval.
        diffusion: D of ⟨ΔE²⟩ = 2 D τ, in the squared unit of the series per unit of time.
        diffusion_low: lower end of its 95 % confidence interval.
        diffusion_high: upper end.
    """

    exponent: float = np.nan
    exponent_error: float = np.nan
    diffusion: float = np.nan
    diffusion_low: float = np.nan
    diffusion_high: float = np.nan


def measure_walk(values: Rows, spacing: float) -> Walk:
    """Measure how a series of evenly spaced values wanders.

    Args:
        values: E, evenly spaced in time.
        spacing: time between two rows.
    """
    if len(values) < 20 or np.ptp(values) == 0:
        return Walk()
    exponent, error = growth_exponent(values)
    diffusion = diffusion_constant(values, spacing)
    high, low = chdtri(_WAVES, [0.975, 0.025])  # chdtri takes the upper tail
    return Walk(exponent, error, diffusion, diffusion * _WAVES / float(low), diffusion * _WAVES / float(high))


def growth_exponent(values: Rows) -> tuple[float, float]:
    """Return α of ⟨ΔE²⟩ ∝ τ^α, and half of its 95 % confidence interval.

    The values are averaged over at most 127 cells of equal length, and ⟨ΔE²⟩ is the mean over all pairs of cells that
    lie m cells apart, for m from 1 to a quarter of the cells in equal steps of log m. The pairs overlap, so that these
    means are correlated. log ⟨ΔE²⟩ against log τ is therefore fitted by generalised least squares, with the covariance
    that ⟨ΔE²⟩ has for Gaussian increments whose mean square grows as τ^α itself,

        cov(S_m, S_l) = 2 ‖W_m Γ W_lᵀ‖² / (n_m n_l),

    where Γ is the covariance of the increments, W_m adds m of them, and n_m is the number of pairs. Means over cells of
    a random walk are a third of a cell less far apart than the cells, which τ takes into account.

    Source: P. Flandrin, IEEE Trans. Inf. Theory 35, 197 (1989), for increments of a power law.
    """
    size = max(1, len(values) // CELLS)
    count = len(values) // size
    cells = values[len(values) - count * size :].reshape(count, size).mean(axis=1)
    lags = np.unique(np.geomspace(1, count // 4, 8).round().astype(int))
    squares = np.array([np.square(cells[lag:] - cells[:-lag]).mean() for lag in lags])
    if not (squares > 0).all():
        return np.nan, np.nan
    nearer = (1 - 1 / size**2) / 3
    design = np.stack([np.ones(len(lags)), np.log(lags - nearer)], axis=1)
    exponent = float(np.polyfit(design[:, 1], np.log(squares), 1)[0])
    for _ in range(3):
        relative = _covariance(lags, count, nearer, min(max(exponent, 0.0), 1.9))
        weights = np.linalg.inv(relative)
        covariance = np.linalg.inv(design.T @ weights @ design)
        logarithms = np.log(squares) + 0.5 * np.diag(relative)  # ⟨log S⟩ is less than log ⟨S⟩
        exponent = float((covariance @ (design.T @ weights @ logarithms))[1])
    return exponent, float(stdtrit(len(lags) - 2, 0.975) * np.sqrt(covariance[1, 1]))


def _covariance(
    lags: np.ndarray, count: int, nearer: float, exponent: float
) -> Float64[np.ndarray, "lags lags"]:
    """Return the relative covariance of ⟨ΔE²⟩ between lags, for a series of so many cells that grows as τ^exponent."""
    apart = np.arange(count + 1, dtype=np.float64)
    growth = np.where(apart > 0, np.maximum(apart - nearer, 0) ** exponent, 0.0)
    behind = np.abs(apart[:-2] - 1).astype(int)
    increments = 0.5 * (growth[1:-1] + growth[behind] - 2 * growth[:-2])
    places = np.arange(count - 1)
    gamma = increments[np.abs(places[:, None] - places)]
    sums = [np.tri(count - lag, count - 1, lag - 1) - np.tri(count - lag, count - 1, -1) for lag in lags]
    found = [
        [
            2 * np.square(a @ gamma @ b.T).mean() / (growth[m] * growth[l])
            for b, l in zip(sums, lags, strict=True)
        ]
        for a, m in zip(sums, lags, strict=True)
    ]
    return np.array(found)


def diffusion_constant(values: Rows, spacing: float) -> float:
    """Return D of ⟨ΔE²⟩ = 2 D τ from the slowest waves of the series.

    The projections c_k = √(2/n) Σ E_i cos(π k (i + ½)/n) of a random walk are independent of each other, with variance
    2 D Δt / 4 sin²(π k/2n). D is the mean over k = 2, 4, …, 16, that is over periods from the whole duration to an
    eighth of it. Even k are orthogonal to a line, so that a steady drift does not count as diffusion. For a random
    walk, 8 D̂/D is distributed as χ² with 8 degrees of freedom. An energy that fluctuates about a constant with the
    variance σ² has a D that falls with the square of the duration.
    """
    rows = len(values)
    waves = 2.0 * np.arange(1, _WAVES + 1)
    phases = np.pi * waves[:, None] * (np.arange(rows) + 0.5) / rows
    projections = np.sqrt(2 / rows) * np.cos(phases) @ (values - values.mean())
    scale = 4 * np.sin(np.pi * waves / (2 * rows)) ** 2
    return float(np.mean(projections**2 * scale) / (2 * spacing))
