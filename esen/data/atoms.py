"""Conversion from and to ASE's atoms."""

import numpy as np
from ase import Atoms

from esen.data.structure import Structure

_GEOMETRY = ("numbers", "positions")


def to_atoms(structure: Structure) -> Atoms:
    """Return the geometry of a structure as ASE's atoms, without info, arrays and labels."""
    return Atoms(structure.numbers, structure.positions, cell=structure.cell, pbc=structure.pbc)


def from_atoms(atoms: Atoms, source: str) -> Structure:
    """Return a copy of ASE's atoms with their info, arrays and constraints, without the results of a calculator.

    Args:
        atoms: the atoms.
        source: their origin, for messages.
    """
    return Structure(
        numbers=np.array(atoms.numbers, dtype=np.int64),
        positions=np.array(atoms.positions, dtype=np.float64),
        cell=np.array(atoms.cell.array, dtype=np.float64),
        pbc=np.array(atoms.pbc, dtype=np.bool_),
        info=dict(atoms.info),
        arrays={name: array.copy() for name, array in atoms.arrays.items() if name not in _GEOMETRY},
        source=source,
        constraints=tuple(atoms.constraints),
    )
