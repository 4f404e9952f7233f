"""Jumps of a function on a line: their place and size.

A parabola through three points on the left of a gap and one through three points on its right are both extrapolated
to the middle of the gap. For a smooth function the two values differ by O(h³) in the spacing h, and the two slopes by
O(h²). At a jump the difference stays as h is reduced.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float64

from esen.evaluate.laws.differences import noise_of

Function = Callable[[Float64[np.ndarray, " K"]], Float64[np.ndarray, "K M D"]]
"""Returns M vectors of D components at K places."""
Of = Literal["value", "slope"]

_AHEAD = {"value": np.array([3.0, -10.0, 15.0]) / 8, "slope": np.array([1.0, -3.0, 2.0])}
"""Weights of three points at 0, h, 2h that give the value, or h times the slope, at 2.5 h."""
_FINER = 4
"""Factor by which each refinement divides the spacing."""
_LASTING = 6
"""Number of refinements after which a difference that has not fallen by half is a jump."""
FINEST = 2e-7
"""Å. Over such a distance the function still changes by many roundings in float64."""


@dataclass(frozen=True, eq=False)
class Jump:
    """The largest jump of a function on a line.

    Attributes:
        size: Difference of the two sides; for a smooth function, what remains of it at the finest spacing.
        error: Contribution that noise may make to the size.
        place: Place on the line.
        spacing: Spacing at which the size was measured.
    """

    size: float
    error: float
    place: float
    spacing: float


def differences(values: Float64[np.ndarray, "K M D"], spacing: float, of: Of) -> Float64[np.ndarray, " gaps"]:
    """Return |right − left| in the middle of each gap but the first two and the last two, for the worst of M vectors.

    >>> step = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    >>> differences(step[:, None, None], 0.1, "value").tolist()
    [1.0]
    """
    weights = _AHEAD[of]
    windows = np.lib.stride_tricks.sliding_window_view(values, 3, axis=0)  # (K − 2, M, D, 3)
    left, right = windows[:-3] @ weights, windows[3:] @ weights[::-1]
    if of == "slope":
        left, right = left / spacing, -right / spacing
    difference: np.ndarray = np.linalg.norm(right - left, axis=2).max(axis=1)
    return difference


def rounding(noise: float, spacing: float, of: Of) -> float:
    """Return the standard deviation of `differences` that the noise of the function causes."""
    deviation = float(np.sqrt(2) * np.linalg.norm(_AHEAD[of])) * noise
    return deviation / spacing if of == "slope" else deviation


def suspects(sizes: Float64[np.ndarray, " gaps"], most: int = 3) -> list[int]:
    """Return the gaps to refine: that of the largest difference, and others that exceed their neighbours."""
    chosen: list[int] = []
    padded = np.pad(sizes, 4, mode="edge")
    around = np.maximum(padded[:-8], padded[8:])
    prominence = np.where(sizes > 3 * around, sizes, 0.0)
    for gap in (int(np.argmax(sizes)), *np.argsort(-prominence).tolist()):
        prominent = not chosen or prominence[gap] > 0
        if prominent and all(abs(gap - other) > 4 for other in chosen):
            chosen.append(gap)
        if len(chosen) == most:
            break
    return chosen


def refine(function: Function, middle: float, spacing: float, of: Of, noise: float, enough: float) -> Jump:
    """Follow the largest difference to finer spacings, until it is below `enough` or noise dominates.

    Args:
        function: Vectors on a line.
        middle: Middle of the first gap.
        spacing: Width of the first gap.
        of: `value` for jumps of the function, `slope` for jumps of its derivative.
        noise: Least standard deviation of the function. Fourth differences count as noise too if they do not fall with
            the spacing as those of a smooth function do, by a factor of 256 each time.
        enough: A difference that need not be followed further.

    Returns:
        The jump at the finest spacing at which it still falls or exceeds the effect of noise.
    """
    best, seen, lasted = Jump(float("inf"), 0.0, middle, spacing), float("inf"), 0
    while True:
        half = 1.5 * spacing  # the gap and its neighbours, in case a neighbour is meant
        spacing /= _FINER
        count = round(2 * half / spacing) + 1
        places = middle + spacing * (np.arange(count + 4) - (count + 3) / 2)
        values = function(places)
        sizes = differences(values, spacing, of)
        gap = int(np.argmax(sizes))
        middle = float(places[gap + 2] + places[gap + 3]) / 2
        seen, before = noise_of(values.reshape(len(values), -1)), seen
        if noise < min(seen, before) and seen > before / 10:
            noise = min(seen, before)  # two jumps near each other may look like noise at one spacing
            best = replace(best, error=rounding(noise, best.spacing, of))
        found = Jump(float(sizes[gap]), rounding(noise, spacing, of), middle, spacing)
        falls = found.size - 3 * found.error < best.size / 2  # so the earlier difference was no jump
        lasted = 0 if falls else lasted + 1
        if falls or found.size + 3 * found.error < 1.05 * (best.size + 3 * best.error):
            best = found
        drowned = 10 * found.error > max(found.size, enough)
        if found.size <= enough or drowned or lasted == _LASTING or spacing / _FINER < FINEST:
            return best


def largest_jump(
    function: Function,
    coarse: tuple[Float64[np.ndarray, " K"], Float64[np.ndarray, "K M D"]],
    of: Of,
    noise: float,
    enough: float,
    places: Sequence[float] = (),
) -> Jump:
    """Return the largest jump on a line.

    Args:
        function: Vectors on a line.
        coarse: Evenly spaced places, and the vectors there.
        of: `value` or `slope`, as in `refine`.
        noise: Standard deviation of the function.
        enough: A difference that need not be followed further.
        places: Places to refine in any case.
    """
    line, values = coarse
    spacing = float(line[1] - line[0])
    sizes = differences(values, spacing, of)
    middles = [float(line[gap + 2] + line[gap + 3]) / 2 for gap in suspects(sizes)]
    found = [refine(function, middle, spacing, of, noise, enough) for middle in (*middles, *places)]
    return max(found, key=lambda jump: jump.size / max(enough, 20 * jump.error))
