"""Means over seeds, paired differences, and correlations, each with its interval."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
FEWEST = 3
"""Points that a correlation needs; for an interval one more, because Fisher's z has the variance 1/(n − 3)."""


def sample_deviation(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation, with n − 1; None for fewer than two values.

    >>> sample_deviation([0.1, 0.1, 0.1]), sample_deviation([0.1])
    (0.0, None)
    """
    if len(values) < 2:
        return None
    return float(np.std(values, ddof=1)) if len(set(values)) > 1 else 0.0  # numpy rounds to 2e-17


@dataclass(frozen=True)
class Difference:
    """Difference of a variant to the base over the seeds that both have.

    The interval is mean ± t s/√n, with s the sample deviation of the differences of n seeds and t the quantile of
    Student's distribution of n − 1 degrees of freedom.

    Attributes:
        seeds: The common seeds.
        mean: Mean of the differences.
        half_width: Half of the 95 % interval; None for one seed.
        base: Mean of the base over the common seeds.
    """

    seeds: tuple[int, ...]
    mean: float
    half_width: float | None
    base: float

    @property
    def relative(self) -> float | None:
        """The difference in per cent of the mean of the base; None if that is 0."""
        return 100 * self.mean / abs(self.base) if self.base else None

    @property
    def relative_half_width(self) -> float | None:
        """Half of the interval in per cent of the mean of the base, which is taken as exact."""
        return None if self.half_width is None or not self.base else 100 * self.half_width / abs(self.base)

    @property
    def ends(self) -> tuple[float | None, float | None]:
        """Both ends of the interval; None for one seed."""
        if self.half_width is None:
            return None, None
        return self.mean - self.half_width, self.mean + self.half_width

    @property
    def within(self) -> bool | None:
        """Whether 0 is in the interval, so that the seeds explain the difference; None for one seed."""
        return None if self.half_width is None else abs(self.mean) <= self.half_width


def paired_difference(
    values: Mapping[int | None, float], base: Mapping[int | None, float]
) -> Difference | None:
    """Return the difference of values to those of the base with the same seeds; None if there are none.

    A potential without a seed (None) is paired with nothing.
    """
    seeds = sorted(seed for seed in values if seed is not None and seed in base)
    if not seeds:
        return None
    differences = [values[seed] - base[seed] for seed in seeds]
    return Difference(
        seeds=tuple(seeds),
        mean=float(np.mean(differences)),
        half_width=_mean_half_width(differences),
        base=float(np.mean([base[seed] for seed in seeds])),
    )


def _mean_half_width(values: Sequence[float]) -> float | None:
    """Return half of the 95 % interval of a mean, t s/√n; None for fewer than two values."""
    deviation = sample_deviation(values)
    if deviation is None:
        return None
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * deviation / math.sqrt(len(values))


@dataclass(frozen=True)
class Coefficient:
    """A correlation coefficient.

    Attributes:
        value: The coefficient; None if a quantity is constant or there are fewer than three points.
        low: Lower end of the 95 % interval; None if there is none.
        high: Upper end.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


def pearson(x: Sequence[float], y: Sequence[float]) -> Coefficient:
    """Return Pearson's coefficient, with the interval of Fisher: atanh r ± z/√(n − 3)."""
    from scipy.stats import pearsonr

    if not _varies(x, y):
        return Coefficient(None)
    return _with_interval(float(pearsonr(x, y).statistic), len(x), 1.0)


def spearman(x: Sequence[float], y: Sequence[float]) -> Coefficient:
    """Return Spearman's coefficient ρ, with an interval by Fisher's z: atanh ρ ± z √((1 + ρ²/2)/(n − 3)).

    The variance is that of Bonett and Wright, Psychometrika 65, 23 (2000).
    """
    from scipy.stats import spearmanr

    if not _varies(x, y):
        return Coefficient(None)
    value = float(spearmanr(x, y).statistic)
    return _with_interval(value, len(x), 1 + value**2 / 2)


def _varies(x: Sequence[float], y: Sequence[float]) -> bool:
    return len(x) >= FEWEST and all(
        float(np.ptp(values)) > 1e-12 * float(np.max(np.abs(values))) for values in (x, y)
    )


def _with_interval(value: float, count: int, variance: float) -> Coefficient:
    value = min(1.0, max(-1.0, value))
    if count <= FEWEST:
        return Coefficient(value)
    if abs(value) > 1 - 1e-15:
        return Coefficient(value, value, value)
    from scipy.stats import norm

    width = float(norm.ppf((1 + CONFIDENCE) / 2)) * math.sqrt(variance / (count - 3))
    centre = math.atanh(value)
    return Coefficient(value, math.tanh(centre - width), math.tanh(centre + width))
