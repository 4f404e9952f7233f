import numpy as np
import pytest

from esen.evaluate.laws.differences import derivative, noise_of


def test_a_derivative_and_its_error() -> None:
    found = derivative(lambda x: np.stack([np.sin(x), np.exp(3 * np.array(x))], axis=1), noise=1e-16)
    assert found.value == pytest.approx([1.0, 3.0], abs=1e-10)
    assert np.abs(found.value - [1.0, 3.0]).max() < found.error < 1e-7


def test_noise_asks_for_a_larger_step() -> None:
    rng = np.random.default_rng(0)

    def noisy(x: object) -> np.ndarray:
        values = np.sin(np.asarray(x))[:, None]
        return np.asarray(values + 1e-6 * rng.normal(size=values.shape))

    found = derivative(noisy, noise=1e-6)
    assert found.step > 1e-2
    assert abs(found.value[0] - 1.0) < 5 * found.error
    assert found.error < 1e-4


@pytest.mark.parametrize("deviation", [1e-9, 1e-3])
def test_noise_is_told_from_what_is_smooth(deviation: float) -> None:
    rng = np.random.default_rng(0)
    x = 1e-5 * np.arange(4000)[:, None]
    smooth = np.sin(x) + 3 * x**2
    assert noise_of(smooth) < 1e-15
    assert noise_of(smooth + deviation * rng.normal(size=x.shape)) == pytest.approx(deviation, rel=0.1)


def test_a_jump_is_no_noise() -> None:
    series = np.linspace(0, 1e-4, 16)[:, None] + 1e-9 * np.random.default_rng(0).normal(size=(16, 1))
    with_jump = series + np.where(np.arange(16) > 9, 0.5, 0.0)[:, None]
    assert noise_of(with_jump) < 1e-8
    assert noise_of(series[:4]) == 0.0


def test_values_rounded_to_float32_have_the_noise_of_that_rounding() -> None:
    """Near equilibrium the rounded energy does not change at all, which does not make it exact."""
    still = np.full((16, 1), np.float64(np.float32(-347.1234)))
    assert 1e-6 < noise_of(still) < 1e-4
    assert noise_of(np.full((16, 1), -347.1234)) == 0.0
