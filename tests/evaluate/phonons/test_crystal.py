"""Cells and supercells."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from esen.errors import InputError
from esen.evaluate.phonons.crystal import check_size, quietly, supercell_for, to_phonopy, widths_of
from esen.evaluate.phonons.inputs import crystal_of_structure
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


@pytest.mark.parametrize("basis", [[[1, 0, 0], [4, 1, 0], [2, -2, 1]], [[1, 7, 0], [0, 1, 0], [0, 0, 1]]])
@pytest.mark.parametrize("crystal", [bulk("Cu", cubic=True), bulk("Cu"), bulk("Ti")])
def test_a_skewed_basis_needs_no_more_atoms(crystal: Atoms, basis: list[list[int]]) -> None:
    cell = crystal.cell.array
    usual, found = supercell_for(cell, 12.0), supercell_for(np.array(basis) @ cell, 12.0)
    assert round(np.linalg.det(usual)) <= round(np.linalg.det(found)) < 2 * round(np.linalg.det(usual))
    assert widths_of(found.T @ np.array(basis) @ cell).min() >= 12.0 - 1e-5


def test_a_large_supercell_needs_a_word() -> None:
    check_size("cu.cif", 4, np.diag([5, 5, 20]), 2000)
    with pytest.raises(InputError, match=r"cu\.cif: .*2004 .*--max-atoms 2004"):
        check_size("cu.cif", 4, np.diag([3, 1, 167]), 2000)
    copper = structure_of(bulk("Cu", cubic=True), "cu.cif")
    with pytest.raises(InputError, match="--max-atoms 2916"):
        crystal_of_structure(copper, "cu", 30.0, 1e-5)
    assert len(crystal_of_structure(copper, "cu", np.diag([1, 1, 9]), 1e-5, max_atoms=8).unitcell) == 4


def test_masses_that_phonopy_lacks_are_those_of_ase() -> None:
    atoms = Atoms("PuNaPo", cell=[3, 4, 5], scaled_positions=[[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0]], pbc=True)
    assert to_phonopy(structure_of(atoms)).masses.tolist() == pytest.approx([244.06, 22.99, 208.98], abs=0.01)


def test_equivalent_atoms_have_one_mass() -> None:
    copper = structure_of(bulk("Cu", cubic=True), "cu.extxyz")
    heavy = replace(copper, masses=np.full(4, 127.0))
    found = crystal_of_structure(heavy, "cu", np.eye(3, dtype=np.int64), 1e-5)
    assert found.masses is not None
    assert found.masses.tolist() == [127.0] * 4
    mixed = replace(copper, masses=np.array([63.0, 63.0, 63.0, 65.0]))
    with pytest.raises(InputError, match=r"cu\.extxyz: atoms 1 and 4 .*63 and 65"):
        crystal_of_structure(mixed, "cu", np.eye(3, dtype=np.int64), 1e-5)
