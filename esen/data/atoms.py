"""From ASE's atoms."""

import numpy as np
from ase import Atoms

from esen.data.structure import Structure


def from_atoms(atoms: Atoms, source: str) -> Structure:
    """The geometry of ASE's atoms, copied; no labels.

    Args:
        atoms: of ASE.
        source: where they came from, for messages.
    """
    return Structure(
        numbers=np.array(atoms.numbers, dtype=np.int64),
        positions=np.array(atoms.positions, dtype=np.float64),
        cell=np.array(atoms.cell.array, dtype=np.float64),
        pbc=np.array(atoms.pbc, dtype=np.bool_),
        source=source,
    )
