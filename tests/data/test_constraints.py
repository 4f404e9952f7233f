from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc111
from ase.constraints import FixAtoms, FixBondLength, FixCartesian, FixCom, FixedLine, FixedPlane, FixScaled
from ase.io import write

from esen.data.atoms import from_atoms
from esen.data.constraints import free_directions, held_atoms_only, named, other_constraints, projected
from esen.data.masses import masses_of
from esen.data.structures import read_structures
from esen.data.supercells import matrix_of, repeated
from esen.errors import InputError
from tests.data.readers.test_aselmdb import array, packed, put, row

CELL = np.array([[3.0, 0.2, 0.1], [0.5, 4.0, -0.3], [0.7, 0.4, 5.0]])


def free_of(*constraints):
    found = free_directions(constraints, CELL, 3)
    assert found is not None
    assert np.array_equal(found[0], np.eye(3))
    np.testing.assert_allclose(found @ found, found, atol=1e-14)
    return found[1]


def test_directions_of_each_kind() -> None:
    assert np.array_equal(free_of(FixAtoms([1])), np.zeros((3, 3)))
    assert np.array_equal(free_of(FixCartesian([1], mask=(True, False, True))), np.diag([0.0, 1.0, 0.0]))
    normal = np.array([1.0, 2.0, 2.0]) / 3
    np.testing.assert_allclose(
        free_of(FixedPlane([1], normal)), np.eye(3) - np.outer(normal, normal), atol=1e-14
    )
    np.testing.assert_allclose(free_of(FixedLine([-2], normal)), np.outer(normal, normal), atol=1e-14)


def test_a_scaled_coordinate_that_is_fixed_stays() -> None:
    free = free_of(FixScaled([1], mask=(False, True, False)))
    np.testing.assert_allclose(free @ CELL[0], CELL[0], atol=1e-14)
    np.testing.assert_allclose(free @ CELL[2], CELL[2], atol=1e-14)
    assert np.linalg.matrix_rank(free) == 2
    moved = free @ np.array([0.3, -0.2, 0.5])
    assert np.linalg.solve(CELL.T, moved)[1] == pytest.approx(0, abs=1e-15)


def test_several_constraints_of_one_atom_all_hold() -> None:
    oblique = np.array([1.0, 1.0, 0.0])
    free = free_of(FixedPlane([1], oblique), FixCartesian([1], mask=(True, False, False)))
    np.testing.assert_allclose(free, np.diag([0.0, 0.0, 1.0]), atol=1e-14)


def test_nothing_is_fixed() -> None:
    assert free_directions((), CELL, 3) is None
    assert free_directions((FixAtoms([]), FixCartesian([0], mask=(0, 0, 0))), CELL, 3) is None
    assert free_directions((FixBondLength(0, 1),), CELL, 3) is None
    assert named(other_constraints([FixAtoms([0]), FixBondLength(0, 1)])) == "FixBondLengths"
    vectors = np.arange(9.0).reshape(3, 3)
    assert projected(vectors, None) is vectors


def slab() -> Atoms:
    atoms = fcc111("Cu", (1, 1, 3), a=3.6, vacuum=6.0)
    atoms.pbc, atoms.info = True, {}
    return atoms


@pytest.mark.parametrize("name", ["a.traj", "a.extxyz", "a.json", "a.db", "POSCAR"])
def test_fixed_atoms_of_a_file(tmp_path, name) -> None:
    atoms = slab()
    atoms.set_constraint(FixAtoms([0]))
    write(tmp_path / name, atoms)
    ((_, structure),) = read_structures(tmp_path / name, ":")
    free = free_directions(structure.constraints, structure.cell, 3)
    assert free is not None
    assert np.array_equal(free, np.array([np.zeros((3, 3)), np.eye(3), np.eye(3)]))


def test_constraints_and_masses_of_aselmdb(tmp_path) -> None:
    plain = row(-1.0, masses=array([24.0, 17.9]), constraints=[FixAtoms([1]).todict()])
    put(tmp_path / "a.aselmdb", {"1": packed(plain), "nextid": packed(2)})
    ((_, structure),) = read_structures(tmp_path / "a.aselmdb", ":")
    assert structure.constraints[0].index.tolist() == [1]
    assert masses_of(structure).tolist() == [24.0, 17.9]
    put(
        tmp_path / "b.aselmdb",
        {"1": packed(row(-1.0, constraints=[{"name": "Nothing"}])), "nextid": packed(2)},
    )
    with pytest.raises(InputError, match=r"b\.aselmdb, frame 0"):
        read_structures(tmp_path / "b.aselmdb", ":")


def test_move_mask_of_three_columns(tmp_path) -> None:
    atoms = slab()
    atoms.set_constraint([FixCartesian([0], mask=(False, False, True)), FixAtoms([1])])
    write(tmp_path / "a.extxyz", atoms)
    ((_, structure),) = read_structures(tmp_path / "a.extxyz", ":")
    free = free_directions(structure.constraints, structure.cell, 3)
    assert free is not None
    assert np.array_equal(free, [np.diag([1.0, 1, 0]), np.zeros((3, 3)), np.eye(3)])


def test_an_atom_that_is_not_there(tmp_path) -> None:
    atoms = slab()
    atoms.constraints = [FixAtoms([0, 7])]
    write(tmp_path / "a.traj", atoms)
    with pytest.raises(InputError, match="frame 0: FixAtoms fixes atom 7, but there are 3 atoms"):
        read_structures(tmp_path / "a.traj", ":")


def test_a_supercell_fixes_every_copy() -> None:
    unit = from_atoms(Atoms("CuAu", [[0, 0, 0], [0, 0, 2]], cell=CELL, pbc=True), "x")
    unit = replace(unit, constraints=(FixScaled([0], mask=(True, True, False)), FixAtoms([-1])))
    before = free_directions(unit.constraints, unit.cell, 2)
    whole = repeated(unit, np.array([[1, 1, 0], [0, 2, 0], [0, 0, 1]]))
    after = free_directions(whole.constraints, whole.cell, 4)
    assert before is not None
    assert after is not None
    np.testing.assert_allclose(after, np.tile(before, (2, 1, 1)), atol=1e-13)
    assert repeated(replace(unit, constraints=(FixBondLength(0, 1),)), matrix_of([2, 1, 1])).constraints == ()


def test_only_what_holds_single_atoms_is_left() -> None:
    unit = from_atoms(Atoms("CuAu", [[0, 0, 0], [0, 0, 2]], cell=CELL, pbc=True), "x")
    held = held_atoms_only(replace(unit, constraints=(FixCom(), FixAtoms([0]))), "dynamics")
    assert named(held.constraints) == "FixAtoms"
    with pytest.raises(InputError, match="x: dynamics cannot keep FixBondLengths"):
        held_atoms_only(replace(unit, constraints=(FixBondLength(0, 1),)), "dynamics")
