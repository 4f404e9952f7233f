"""Cells and supercells."""

import warnings

import numpy as np
import pytest

from esen.evaluate.phonons.crystal import quietly, supercell_for, to_phonopy
from tests.evaluate.phonons.crystals import corundum, structure_of


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (np.diag([3.0, 4.0, 6.0]), [4, 3, 2]),
        (np.diag([12.0, 12.1, 30.0]), [1, 1, 1]),
        (np.array([[0, 2.0, 2.0], [2.0, 0, 2.0], [2.0, 2.0, 0]]), [6, 6, 6]),  # 2.31 Å between faces
    ],
)
def test_supercells_are_wide_between_faces(cell: np.ndarray, expected: list[int]) -> None:
    found = supercell_for(cell, 12.0)
    assert found.tolist() == np.diag(expected).tolist()


def test_atoms_are_those_of_the_structure() -> None:
    structure = structure_of(corundum())
    found = to_phonopy(structure)
    np.testing.assert_allclose(found.positions, structure.positions, atol=1e-12)
    assert found.numbers.tolist() == structure.numbers.tolist()


def test_notes_on_versions_are_not_shown() -> None:
    def noisy(value: int) -> int:
        warnings.warn("will change", DeprecationWarning, stacklevel=1)
        return value + 1

    assert quietly(noisy, 1) == 2
    with pytest.raises(DeprecationWarning):
        noisy(1)
