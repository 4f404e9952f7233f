"""The structures that `esen check` tests on: the user's, or small ones made on the spot."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import atomic_numbers, chemical_symbols, covalent_radii, reference_states

from esen.data.atoms import from_atoms
from esen.data.checks import check_structure
from esen.data.readers.extxyz import read_extxyz
from esen.data.readers.reading import parse_slice
from esen.data.structure import Structure
from esen.errors import InputError, typed_line

RATTLE = 0.05
"""Å: standard deviation of the displacements of a default structure, whose forces would vanish by symmetry."""
_XYZ = (".xyz", ".extxyz")
_PACKED = (".gz", ".bz2", ".xz")
_ANIONS = ("O", "F", "Cl", "S", "N", "Br", "Se", "I", "H")
_MOLECULES = ("H2O", "CH4", "NH3", "CO2", "HF", "HCl", "SO2", "SiH4", "PH3")
_CUBIC = ("fcc", "bcc", "diamond")


def read_geometries(files: Sequence[str], frames: str) -> list[Structure]:
    """Structures without labels.

    Args:
        files: extended XYZ, or anything that ASE reads.
        frames: of each file, a Python slice.

    Raises:
        InputError: a file is missing or cannot be read, nothing is selected, or a structure cannot be true.
    """
    selection = parse_slice(frames)
    structures = [
        structure for file in files for structure in _read(Path(file).expanduser(), selection, frames)
    ]
    for structure in structures:
        check_structure(structure, len(chemical_symbols))
    return structures


def _read(path: Path, selection: slice, frames: str) -> list[Structure]:
    if path.is_dir():
        raise InputError(f"{path}: is a folder; expected a file of structures")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    suffixes = [suffix for suffix in path.suffixes if suffix not in _PACKED]
    if suffixes and suffixes[-1] in _XYZ:
        found = [
            Structure(f.numbers, f.positions, f.cell, f.pbc, source=f.source)
            for f in read_extxyz(path, selection)
        ]
    else:
        found = [from_atoms(atoms, f"{path}, frame {i}") for i, atoms in _read_with_ase(path, selection)]
    if not found:
        raise InputError(f"{path}: frames {frames!r} selects nothing")
    return found


def _read_with_ase(path: Path, selection: slice) -> list[tuple[int, Atoms]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ASE's readers warn of what is no matter here
            images = ase.io.read(path, index=":")
    except Exception as error:  # whatever its many readers meet
        raise InputError(f"{path}: ASE cannot read it ({typed_line(error)})") from error
    return list(enumerate(images))[selection]


def default_structures(
    elements: Sequence[int] | None, seed: int = 0, *, molecules: bool = True
) -> list[Structure]:
    """A rattled crystal of elements that the potential knows, and a molecule where it knows one.

    Args:
        elements: atomic numbers; None: not known, then MgO and water.
        seed: of the rattling.
        molecules: whether the potential can be asked about atoms without a cell; many calculators cannot.
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
    """Rocksalt where there is a metal and an anion; else the element's own cubic crystal, or fcc."""
    anions = [symbol for symbol in _ANIONS if symbol in known]
    others = [s for s in known if s not in (*_ANIONS, "C", "P", "B", "Si") and not _is_noble(s)]
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


def _is_noble(symbol: str) -> bool:
    return symbol in ("He", "Ne", "Ar", "Kr", "Xe", "Rn")
