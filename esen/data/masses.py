"""Masses of atoms: those of the file, or else of the elements."""

from dataclasses import replace

import numpy as np
from ase.data import atomic_masses, chemical_symbols
from jaxtyping import Float64, Int64

from esen.data.structure import Structure
from esen.errors import InputError

ISOTOPES = {"D": 2.014102, "T": 3.016049}
"""Masses in amu of the isotopes of hydrogen that files write as elements."""
_LEAST = 0.1
"""Mass in amu, below which masses are in other units. That of muonium, the lightest that is used, is 0.114."""
_NAMES = ("masses", "mass")
"""Names of arrays of masses in files, in lower case."""


def masses_of(structure: Structure) -> Float64[np.ndarray, " N"]:
    """Return the masses of the atoms in amu: those that the file gives, or else those of the elements.

    Raises:
        InputError: as `standard_masses`.
    """
    return standard_masses(structure.numbers) if structure.masses is None else structure.masses


def with_masses(structure: Structure) -> Structure:
    """Return a structure whose masses are the array of masses of its file, if it has one, in amu.

    Raises:
        InputError: a mass is not a number of amu; the message names the atom.
    """
    name = next((name for name in structure.arrays if name.lower() in _NAMES), None)
    if name is None:
        return structure
    given = np.asarray(structure.arrays[name])
    if given.shape != structure.numbers.shape or given.dtype.kind not in "iuf":
        raise InputError(f"{structure.source}: {name} are not one number per atom, which masses in amu are")
    masses = given.astype(np.float64)
    for atom in np.flatnonzero(~(np.isfinite(masses) & (masses >= _LEAST))):
        raise InputError(
            f"{structure.source}: atom {atom} has the mass {masses[atom]:g}; expected {_LEAST} amu or more"
        )
    return replace(structure, masses=masses)


def standard_masses(numbers: Int64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
    """Return the standard atomic weights in amu (IUPAC, as in ASE; of the longest-lived isotope where there is none).

    Raises:
        InputError: an atomic number is not that of an element.
    """
    known = (numbers >= 1) & (numbers < len(atomic_masses))
    if not known.all():
        atom = int(np.flatnonzero(~known)[0])
        raise InputError(
            f"atom {atom}: no mass is known for atomic number {numbers[atom]}; "
            f"expected 1 (H) to {len(atomic_masses) - 1} ({chemical_symbols[len(atomic_masses) - 1]})"
        )
    return np.array(atomic_masses[numbers], dtype=np.float64)
