"""Scattering by isotopes: mass variances of the natural mixtures of the elements (Tamura)."""

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float64
from phono3py.other.isotope import get_mass_variances
from phonopy.structure.atomic_data import get_atomic_data
from phonopy.structure.atoms import PhonopyAtoms

from esen.data.masses import standard_masses

_NATURAL = 5e-4
"""Relative difference from the standard weight beyond which a mass is that of an isotope, and not of the mixture."""


def mass_variances(atoms: PhonopyAtoms) -> Float64[np.ndarray, " N"]:
    """Return Σ_i f_i (1 − m_i / m)² over the natural isotopes i of each atom; 0 where `without_isotopes` says why."""
    known = [
        (chemical_symbols[z], not reason) for z, reason in zip(atoms.numbers, _reasons(atoms), strict=True)
    ]
    return np.array([get_mass_variances(symbols=[s])[0] if natural else 0.0 for s, natural in known])


def without_isotopes(atoms: PhonopyAtoms) -> list[str]:
    """Return a line with the reason for each element whose isotopes do not scatter."""
    return [f"isotopes do not scatter at {reason}" for reason in dict.fromkeys(_reasons(atoms)) if reason]


def _reasons(atoms: PhonopyAtoms) -> list[str]:
    """Return why each atom has no natural mixture of isotopes; empty where it has one."""
    known, reasons = get_atomic_data().isotope_data, []
    for number, mass, usual in zip(atoms.numbers, atoms.masses, standard_masses(atoms.numbers), strict=True):
        symbol = chemical_symbols[number]
        if not known.get(symbol):
            reasons.append(f"{symbol} (no natural mixture is known)")
        elif abs(mass / usual - 1) > _NATURAL:
            reasons.append(f"{symbol} (its mass is {mass:g}, that of the natural mixture {usual:g})")
        else:
            reasons.append("")
    return reasons
