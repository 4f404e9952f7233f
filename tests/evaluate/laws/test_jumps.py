from collections.abc import Callable

import numpy as np
import pytest

from esen.evaluate.laws.jumps import FINEST, Of, largest_jump, refine, suspects

LINE = np.arange(0.0, 4.0, 0.02)


def smooth(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.sin(3 * x))


def look(function: Callable[[np.ndarray], np.ndarray], of: Of, noise: float = 1e-16) -> tuple[float, float]:
    def column(x: np.ndarray) -> np.ndarray:
        return function(x)[:, None, None]

    jump = largest_jump(column, (LINE, column(LINE)), of, noise, 1e-9)
    return jump.size, jump.place


@pytest.mark.parametrize("place", [0.513, 2.7182, 3.3001])
@pytest.mark.parametrize("size", [3e-4, -0.1, 5.0])
def test_a_step_is_found_and_measured(place: float, size: float) -> None:
    found, at = look(lambda x: smooth(x) + size * (x > place), "value")
    assert found == pytest.approx(abs(size), rel=1e-3, abs=1e-6)
    assert at == pytest.approx(place, abs=1e-5)


@pytest.mark.parametrize("size", [1e-2, -1.0])
def test_a_kink_is_a_jump_of_the_slope_alone(size: float) -> None:
    def kinked(x: np.ndarray) -> np.ndarray:
        return smooth(x) + size * np.maximum(x - 1.2345, 0.0)

    found, at = look(kinked, "slope")
    assert found == pytest.approx(abs(size), rel=1e-3)
    assert at == pytest.approx(1.2345, abs=1e-4)
    assert look(kinked, "value")[0] < 1e-7


def test_a_smooth_function_has_none() -> None:
    assert look(smooth, "value")[0] < 1e-9
    assert look(smooth, "slope")[0] < 1e-6


def test_the_third_derivative_may_jump() -> None:
    """As that of the default envelope does."""

    def cubic(x: np.ndarray) -> np.ndarray:
        return smooth(x) + np.maximum(x - 2.0, 0.0) ** 3

    assert look(cubic, "value")[0] < 1e-9
    assert look(cubic, "slope")[0] < 1e-6


def test_noise_is_seen_and_not_taken_for_a_jump() -> None:
    rng = np.random.default_rng(0)

    def noisy(x: np.ndarray) -> np.ndarray:
        return np.asarray((smooth(x) + 1e-5 * rng.normal(size=x.shape))[:, None, None])

    for of in ("value", "slope"):
        found = refine(noisy, 1.0, 0.02, of, 0.0, 1e-9)  # type: ignore[arg-type]
        assert found.size < 20 * found.error
    assert found.spacing > 1e-4  # no finer than the noise allows


def test_two_jumps_near_each_other_are_no_noise() -> None:
    def twice(x: np.ndarray) -> np.ndarray:
        return smooth(x) + 0.2 * (x > 1.5) + 0.3 * (x > 1.5 + 1.3e-6)

    found, at = look(twice, "value")
    assert found > 0.15
    assert at == pytest.approx(1.5, abs=1e-4)


def test_the_search_ends() -> None:
    asked = []

    def step(x: np.ndarray) -> np.ndarray:
        asked.append(x)
        return np.asarray((x > 1.0)[:, None, None].astype(float))

    found = refine(step, 1.001, 0.02, "value", 0.0, 1e-9)
    assert found.size == pytest.approx(1.0)
    assert FINEST <= found.spacing < 0.02
    assert len(asked) < 12


def test_several_gaps_are_suspected() -> None:
    sizes = np.exp(-np.arange(100) / 10.0)  # a repulsive wall at the left
    sizes[60] = 0.1
    assert suspects(sizes) == [0, 60]
