"""How an energy wanders without a direction: growth of ⟨ΔE²⟩ with the lag, and the diffusion constant of a random walk.

A slope does not see a random walk. The mean squared change ⟨(E(t + τ) − E(t))²⟩ ∝ τ^α does: its exponent α is 0 for an
energy that fluctuates about a constant, 1 for a random walk, and 2 for a steady drift.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float64, Integer
from scipy.special import chdtri, stdtrit

CELLS = 64
"""Number of means over neighbouring rows from which the growth is computed. Means suppress what fluctuates fast."""
REDNESS = np.linspace(0.0, 2.5, 11)
"""Exponents β of the spectrum f^−β that are considered."""
_DIFFUSION_WAVES = 8
_REDNESS_WAVES = 24

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
        redness: β of the power spectrum f^−β at the 24 longest periods: 0 for an energy that fluctuates about a
            constant, 2 for a random walk. Unlike α, it does not see fast noise on top of a walk.
    """

    exponent: float = np.nan
    exponent_error: float = np.nan
    diffusion: float = np.nan
    diffusion_low: float = np.nan
    diffusion_high: float = np.nan
    redness: float = np.nan


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
    high, low = chdtri(_DIFFUSION_WAVES, [0.975, 0.025])  # chdtri takes the upper tail
    waves = np.arange(2.0, 2.0 + min(_REDNESS_WAVES, len(values) // 2))
    likelihoods, _ = redness_likelihoods(slow_waves(values, waves), waves)
    return Walk(
        exponent=exponent,
        exponent_error=error,
        diffusion=diffusion,
        diffusion_low=diffusion * _DIFFUSION_WAVES / float(low),
        diffusion_high=diffusion * _DIFFUSION_WAVES / float(high),
        redness=float(likelihoods @ REDNESS),
    )


def slow_waves(values: Rows, waves: Float64[np.ndarray, " waves"]) -> Float64[np.ndarray, " waves"]:
    """Return c_k² of the residuals of a line, with c_k = √(2/n) Σ residual_i cos(π k (i + ½)/n) for the given k."""
    rows = len(values)
    middle = np.arange(rows) - (rows - 1) / 2
    residuals = values - values.mean()
    residuals = residuals - (residuals @ middle) / (middle @ middle) * middle
    cosines = np.cos(np.pi * waves[:, None] * (np.arange(rows) + 0.5) / rows)
    return np.asarray(np.square(np.sqrt(2 / rows) * cosines @ residuals))


def redness_likelihoods(
    squares: Float64[np.ndarray, " waves"], waves: Float64[np.ndarray, " waves"]
) -> tuple[Float64[np.ndarray, " redness"], Float64[np.ndarray, " redness"]]:
    """Return the likelihoods of β in `REDNESS`, with sum 1, and the scale √v of each.

    The projections c_k are taken as normally distributed with variances v k^−β, and ln v as uniformly distributed.

    Args:
        squares: c_k².
        waves: k.
    """
    count = len(waves)
    sums = np.maximum(waves ** REDNESS[:, None] @ squares, 1e-300)
    logarithms = 0.5 * np.log(waves).sum() * REDNESS - 0.5 * count * np.log(sums)
    likelihoods = np.exp(logarithms - logarithms.max())
    return likelihoods / likelihoods.sum(), np.sqrt(sums / count)


def growth_exponent(values: Rows) -> tuple[float, float]:
    """Return α of ⟨ΔE²⟩ ∝ τ^α, and half of its 95 % confidence interval.

    The values are averaged over at most 127 cells of equal length, and ⟨ΔE²⟩ is the mean over all pairs of cells that
    lie m cells apart, for m from 1 to a quarter of the cells in equal steps of log m. The pairs overlap, so that these
    means are correlated. log ⟨ΔE²⟩ against log τ is therefore fitted by generalised least squares, with the covariance
    that ⟨ΔE²⟩ has for Gaussian increments whose mean square grows as τ^α itself,

        cov(S_m, S_l) = 2 ‖W_m Γ W_lᵀ‖² / (n_m n_l),

    where Γ is the covariance of the increments, W_m adds m of them, and n_m is the number of pairs. Means over cells of
    a random walk are a third of a cell less far apart than the cells, those of a line are not; τ takes this into
    account.

    Source: P. Flandrin, IEEE Trans. Inf. Theory 35, 197 (1989), for increments of a power law.
    """
    size = max(1, len(values) // CELLS)
    count = len(values) // size
    cells = values[len(values) - count * size :].reshape(count, size).mean(axis=1)
    lags = _lags(count)
    squares = np.array([np.square(cells[lag:] - cells[:-lag]).mean() for lag in lags])
    if not (squares > 0).all():
        return np.nan, np.nan
    exponent, error = 1.0, np.nan
    for _ in range(5):
        likely = min(max(round(10 * exponent), 0), 19) / 10  # of few values, so that covariances are kept
        nearer = min(1.0, 2 - likely) / 3 * (1 - 1 / size**2)
        relative, weights = _covariance(count, nearer, likely)
        design = np.stack([np.ones(len(lags)), np.log(lags - nearer)], axis=1)
        covariance = np.linalg.inv(design.T @ weights @ design)
        logarithms = np.log(squares) + 0.5 * np.diag(relative)  # ⟨log S⟩ is less than log ⟨S⟩
        exponent = float((covariance @ (design.T @ weights @ logarithms))[1])
        error = float(stdtrit(len(lags) - 2, 0.975) * np.sqrt(covariance[1, 1]))
    return exponent, error


def _lags(count: int) -> Integer[np.ndarray, " lags"]:
    """Return the lags at which so many cells are compared, in cells."""
    return np.unique(np.geomspace(1, count // 4, 8).round().astype(int))


@lru_cache(maxsize=256)
def _covariance(
    count: int, nearer: float, exponent: float
) -> tuple[Float64[np.ndarray, "lags lags"], Float64[np.ndarray, "lags lags"]]:
    """Return the relative covariance of ⟨ΔE²⟩ between lags, for a series that grows as τ^exponent, and its inverse."""
    lags = _lags(count)
    apart = np.arange(count + 1, dtype=np.float64)
    growth = np.where(apart > 0, np.maximum(apart - nearer, 0) ** exponent, 0.0)
    behind = np.abs(apart[:-2] - 1).astype(int)
    increments = 0.5 * (growth[1:-1] + growth[behind] - 2 * growth[:-2])
    places = np.arange(count - 1)
    gamma = increments[np.abs(places[:, None] - places)]
    sums = [np.tri(count - lag, count - 1, lag - 1) - np.tri(count - lag, count - 1, -1) for lag in lags]
    found = [[2 * np.square(a @ gamma @ b.T).mean() for b in sums] for a in sums]
    relative = np.array(found) / np.outer(growth[lags], growth[lags])
    return relative, np.linalg.inv(relative)


def diffusion_constant(values: Rows, spacing: float) -> float:
    """Return D of ⟨ΔE²⟩ = 2 D τ from the slowest waves of the series.

    The projections c_k = √(2/n) Σ E_i cos(π k (i + ½)/n) of a random walk are independent of each other, with variance
    2 D Δt / 4 sin²(π k/2n). D is the mean over k = 2, 4, …, 16, that is over periods from the whole duration to an
    eighth of it. Even k are orthogonal to a line, so that a steady drift does not count as diffusion. For a random
    walk, 8 D̂/D is distributed as χ² with 8 degrees of freedom. An energy that fluctuates about a constant with the
    variance σ² has a D that falls with the square of the duration.
    """
    rows = len(values)
    waves = 2.0 * np.arange(1, _DIFFUSION_WAVES + 1)
    phases = np.pi * waves[:, None] * (np.arange(rows) + 0.5) / rows
    projections = np.sqrt(2 / rows) * np.cos(phases) @ (values - values.mean())
    scale = 4 * np.sin(np.pi * waves / (2 * rows)) ** 2
    return float(np.mean(projections**2 * scale) / (2 * spacing))
