import numpy as np
import pytest

from esen.evaluate.laws.differences import derivative


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
