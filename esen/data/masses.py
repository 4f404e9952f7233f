"""Masses of the elements."""

import numpy as np
from ase.data import atomic_masses, chemical_symbols
from jaxtyping import Float64, Int64

from esen.errors import InputError


def masses_of(numbers: Int64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
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
