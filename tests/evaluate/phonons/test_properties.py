"""What force constants say."""

import numpy as np
import pytest

from esen.evaluate.phonons.properties import (
    OTHER_THZ,
    Thermal,
    imaginary_modes,
    true_commensurate_points,
)
from esen.evaluate.phonons.run import phonons_at
from tests.evaluate.phonons.crystals import STILL, Springs, copper, crystal_of, cubic, emt, model_of

GOLD = 196.966569
"""amu."""


def test_springs_along_a_cubic_lattice() -> None:
    mass, along, across = GOLD, 2.0, 0.5
    found = phonons_at(crystal_of(cubic(), 4, 4, 4), None, model_of(Springs(along, across)), STILL).properties
    thz = 15.633302  # √(eV/Å²/amu) / 2π in THz
    top = thz * np.sqrt(4 * (along + 2 * across) / mass)  # at R, which 4×4×4 holds
    assert found.max_commensurate == pytest.approx(top * 47.9924307, rel=1e-5)
    assert found.max_mesh < top
    assert (found.stable, found.imaginary) == (True, 0)


def test_unstable_modes_are_counted() -> None:
    crystal = crystal_of(cubic(), 2, 2, 2)
    found = phonons_at(crystal, None, model_of(Springs(2.0, -0.1)), STILL).properties
    assert not found.stable
    assert found.imaginary > 10
    expected = -15.633302 * np.sqrt(4 * 2 * 0.1 / GOLD)  # across two axes, at M
    assert found.lowest == pytest.approx(expected, rel=1e-4)
    assert sorted(np.abs(found.lowest_at)) == [0.0, 0.5, 0.5]


def test_acoustic_modes_at_gamma_may_be_a_little_below_zero() -> None:
    points = np.array([[0.0, 0, 0], [1.0, 0, -1], [0.5, 0, 0]])
    frequencies = np.tile([-0.5, -0.1, 0.0, 3.0], (3, 1))  # −0.5 THz is −24 K
    assert imaginary_modes(points, frequencies) == 2
    frequencies[0] = [-0.8, -0.1, 0.0, 3.0]
    assert imaginary_modes(points, frequencies) == 3
    optical = np.array([[-0.1, -0.1, -0.1, 2 * OTHER_THZ], [-0.1, -0.1, -0.1, 0.5 * OTHER_THZ]])
    assert [imaginary_modes(points[:1], one[None]) for one in optical] == [1, 0]


def test_points_of_the_supercell() -> None:
    phonons = phonons_at(copper(), None, emt(), STILL).phonopy
    points = true_commensurate_points(phonons)
    assert len(points) == 32  # primitive cells in 2×2×2 cubic ones
    whole = points @ np.linalg.inv(phonons.primitive_matrix) @ phonons.supercell_matrix
    np.testing.assert_allclose(whole, np.rint(whole), atol=1e-9)


def test_thermal_values_at_a_temperature() -> None:
    thermal = Thermal(np.array([0.0, 300.0]), np.array([1.0, 2]), np.array([3.0, 4]), np.array([5.0, 6]))
    assert thermal.at(300.0) == (2.0, 4.0, 6.0)
