"""Errors of conductivities, by hand."""

import numpy as np
import pytest

from esen.errors import InputError
from esen.evaluate.conductivity.metrics import (
    mean_of_trace,
    mode_conductivity,
    spectrum_distance,
    srd,
    srme,
)


def test_relative_differences() -> None:
    assert srd(1.0, 3.0) == pytest.approx(-1.0)
    assert srd(0.0, 5.0) == -2.0
    assert srd(3.0, 1.0) == pytest.approx(1.0)
    assert srd(7.0, 7.0) == 0.0


def test_modes_that_cancel_in_the_total_do_not_cancel_in_srme() -> None:
    weights = np.array([1.0, 3.0])
    predicted, reference = np.array([[4.0, 0.0], [2.0, 2.0]]), np.array([[0.0, 4.0], [3.0, 1.0]])
    kappa = predicted.sum() / weights.sum()
    assert kappa == reference.sum() / weights.sum() == 2.0
    # (4 + 4 + 1 + 1) / 4 = 2.5, and 2 × 2.5 / (2 + 2)
    assert srme(predicted, reference, weights, (kappa, kappa)) == pytest.approx(1.25)
    assert srme(reference, reference, weights, (kappa, kappa)) == 0.0


def test_srme_bounds_sre_from_above() -> None:
    rng = np.random.default_rng(0)
    weights = np.array([1.0, 6.0, 8.0])
    for _ in range(20):
        predicted, reference = rng.uniform(0, 5, (2, 3, 6))
        totals = predicted.sum() / 15, reference.sum() / 15
        found = srme(predicted, reference, weights, totals)
        assert abs(srd(*totals)) - 1e-12 <= found <= 2.0


def test_srme_without_any_conductivity() -> None:
    nothing, weights = np.zeros((1, 3)), np.ones(1)
    assert srme(nothing, nothing, weights, (0.0, 0.0)) == 0.0
    assert srme(nothing + 1, nothing, weights, (0.0, 0.0)) == 2.0


def test_other_modes_are_one_line() -> None:
    with pytest.raises(InputError, match=r"2 × 3 .*4 × 3 .*reference"):
        srme(np.ones((2, 3)), np.ones((4, 3)), np.ones(2), (1.0, 1.0))


def test_a_pair_is_divided_by_heat_capacity() -> None:
    particle = np.zeros((1, 1, 2, 6))
    particle[0, 0, 0, 0] = 5.0
    coherence = np.zeros((1, 1, 2, 2, 6))
    coherence[0, 0, 0, 1, 0] = coherence[0, 0, 1, 0, 0] = 1.0
    found = mode_conductivity(particle, coherence, np.array([[[1.0, 3.0]]]))
    # Of 2 in all, a mode gets 2 C_partner / (C + C_partner), as the code of the benchmark has it.
    assert found[0, 0, :, 0].tolist() == [5.0 + 1.5, 0.5]


def test_dividing_pairs_keeps_their_sum() -> None:
    rng = np.random.default_rng(1)
    particle, half = rng.normal(size=(1, 2, 4, 6)), rng.normal(size=(1, 2, 4, 4, 6))
    coherence = half + half.swapaxes(2, 3)
    found = mode_conductivity(particle, coherence, rng.uniform(0.1, 1, (1, 2, 4)))
    np.testing.assert_allclose(
        found.sum(axis=2), particle.sum(axis=2) + coherence.sum(axis=(2, 3)), atol=1e-12
    )


def test_modes_without_heat_capacity_share_nothing() -> None:
    coherence = np.zeros((1, 1, 2, 2, 6))
    found = mode_conductivity(np.ones((1, 1, 2, 6)), coherence, np.zeros((1, 1, 2)))
    np.testing.assert_array_equal(found, np.ones((1, 1, 2, 6)))


def test_the_mean_is_that_of_the_diagonal() -> None:
    assert mean_of_trace(np.array([[3.0, 6.0, 9.0, 1.0, 2.0, 4.0]])).tolist() == [6.0]


def test_spectra_count_equivalent_points() -> None:
    mine, theirs = np.array([[1.0], [3.0]]), np.array([[1.0], [3.0], [3.0]])
    assert spectrum_distance(mine, np.array([1.0, 2.0]), theirs, np.ones(3)) == pytest.approx(0.0, abs=1e-12)
    assert spectrum_distance(mine, np.ones(2), theirs, np.ones(3)) == pytest.approx(2 * (2 / 3 - 1 / 2))
