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
    symbols, reasons = _symbols(atoms), _reasons(atoms)
    natural = [symbol for symbol, reason in zip(symbols, reasons, strict=True) if not reason]
    found = np.zeros(len(atoms))
    found[[not reason for reason in reasons]] = get_mass_variances(symbols=natural)
    return found


def without_isotopes(atoms: PhonopyAtoms) -> list[str]:
    """Return a line with the reason for each element whose isotopes do not scatter."""
    words = [f"{s} {r}" for s, r in zip(_symbols(atoms), _reasons(atoms), strict=True) if r]
    return [f"isotopes do not scatter at {one}" for one in dict.fromkeys(words)]


def _symbols(atoms: PhonopyAtoms) -> list[str]:
    return [chemical_symbols[number] for number in atoms.numbers]


def _reasons(atoms: PhonopyAtoms) -> list[str]:
    """Return why each atom has no natural mixture of isotopes; empty where it has one."""
    known = get_atomic_data().isotope_data
    reasons = []
    for symbol, mass, usual in zip(
        _symbols(atoms), atoms.masses, standard_masses(atoms.numbers), strict=True
    ):
        reason = "" if known.get(symbol) else "(no natural mixture is known)"
        if not reason and abs(mass / usual - 1) > _NATURAL:
            reason = f"(its mass in the file is {mass:g}, that of the natural mixture {usual:g})"
        reasons.append(reason)
    return reasons
