"""The structures of `esen check`: those of the user's files, or small default structures."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase.build import bulk, molecule
from ase.data import atomic_numbers, chemical_symbols, covalent_radii, reference_states

from esen.data.atoms import from_atoms
from esen.data.structure import Structure
from esen.data.structures import read_structures

RATTLE = 0.05
"""Å. Standard deviation of the displacements of a default structure, whose forces would vanish by symmetry."""
_ANIONS = ("O", "F", "Cl", "S", "N", "Br", "Se", "I", "H")
_NOBLE = ("He", "Ne", "Ar", "Kr", "Xe", "Rn")
_MOLECULES = ("H2O", "CH4", "NH3", "CO2", "HF", "HCl", "SO2", "SiH4", "PH3")
_CUBIC = ("fcc", "bcc", "diamond")


def given_structures(files: Sequence[str], frames: str) -> list[Structure]:
    """Return the selected frames of files, in order.

    Args:
        files: Files in any format that esen or ASE reads.
        frames: Frames of each file, as a Python slice.

    Raises:
        InputError: As `read_structures`.
    """
    paths = [Path(file).expanduser() for file in files]
    return [structure for path in paths for _, structure in read_structures(path, frames)]


def default_structures(
    elements: Sequence[int] | None, seed: int = 0, *, molecules: bool = True
) -> list[Structure]:
    """Return a rattled crystal, and a molecule, of elements that the potential knows.

    Args:
        elements: Atomic numbers that the potential knows; if they are not known, the structures are MgO and water.
        seed: Seed for the random displacements.
        molecules: Whether the potential accepts atoms without a cell, which many calculators do not.
    """
    known = [chemical_symbols[z] for z in elements] if elements else ["H", "O", "Mg"]
    made = [_crystal(known, seed)]
    for name in _MOLECULES if molecules else ():
        atoms = molecule(name)
        if set(atoms.symbols) <= set(known):
            made.append(replace(from_atoms(atoms, f"{name} molecule"), pbc=np.zeros(3, dtype=np.bool_)))
            break
    return made


def _crystal(known: Sequence[str], seed: int) -> Structure:
    """Return rocksalt if a metal and an anion are known, and else the cubic crystal of an element, or fcc."""
    anions = [symbol for symbol in _ANIONS if symbol in known]
    others = [s for s in known if s not in (*_ANIONS, "C", "P", "B", "Si") and s not in _NOBLE]
    if anions and others:
        cation = "Mg" if "Mg" in others else others[0]
        a = 2 * (covalent_radii[atomic_numbers[cation]] + covalent_radii[atomic_numbers[anions[0]]])
        atoms, kind = bulk(cation + anions[0], "rocksalt", a=a, cubic=True), "rocksalt, 8 atoms"
    else:
        symbol = "Cu" if "Cu" in known else (others or list(known))[0]
        state = reference_states[atomic_numbers[symbol]] or {}
        cubic = state.get("symmetry") in _CUBIC and "a" in state
        a = None if cubic else 2 * np.sqrt(2) * covalent_radii[atomic_numbers[symbol]]
        atoms = bulk(symbol) if cubic else bulk(symbol, "fcc", a=a)
        repeats = (2, 2, 2) if len(atoms) == 1 else (2, 2, 1)
        words = "×".join(map(str, repeats))
        atoms, kind = atoms * repeats, f"{state['symmetry'] if cubic else 'fcc'}, {words}"
    atoms.positions += RATTLE * np.random.default_rng(seed).normal(size=atoms.positions.shape)
    return from_atoms(atoms, f"{atoms.get_chemical_formula()} ({kind}, rattled by {RATTLE} Å)")
