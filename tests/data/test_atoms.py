import numpy as np
from ase.build import bulk, molecule

from esen.data.atoms import from_atoms


def test_a_crystal_is_copied() -> None:
    atoms = bulk("MgO", "rocksalt", a=4.2)
    made = from_atoms(atoms, "MgO, frame 0")
    before = atoms.positions.copy()
    atoms.positions += 1.0
    atoms.set_cell(2 * atoms.cell)
    assert made.numbers.tolist() == [12, 8]
    assert np.array_equal(made.positions, before)
    assert np.array_equal(made.cell, bulk("MgO", "rocksalt", a=4.2).cell.array)
    assert made.pbc.all()
    assert made.source == "MgO, frame 0"
    assert made.energy is None
    assert made.forces is None


def test_a_molecule_has_no_period() -> None:
    made = from_atoms(molecule("H2O"), "water")
    assert not made.pbc.any()
    assert not made.cell.any()
    assert (made.numbers.dtype, made.positions.dtype, made.pbc.dtype) == (np.int64, np.float64, np.bool_)
