"""What ASE's readers guess silently, and is refused here: unnamed elements, and crystals with disordered sites."""

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers, chemical_symbols

from esen.data.atoms import from_atoms
from esen.data.checks import FULL, overlap, pairs_within
from esen.data.readers.opening import opened
from esen.errors import InputError

_LARGEST_BOND = 2.7
"""Å. No two elements have covalent radii of which half the sum is larger."""
_MASS_TOLERANCE = 0.005
"""Relative difference of a mass from that of the element which it names."""
_SYMBOLS = re.compile(r"(?:[A-Z][a-z]?\d*(?:[\s_-]+|$))+")
_NO_GROUP = ("", ".", "?")
_TYPES_ONLY = "has types of atoms but no elements, which esen does not guess"


def check_text(readable: Path, path: Path, kind: str) -> None:
    """Refuse a file that does not say which elements its atoms are, or that has fewer atoms than it says.

    Args:
        readable: the file or a copy of it.
        path: name of the file, for messages.
        kind: ASE's name of the format.

    Raises:
        InputError: as above.
    """
    if kind == "lammps-dump-binary":
        raise InputError(f"{path}: {_TYPES_ONLY}; write a text dump with the column element")
    if kind not in ("vasp", "lammps-data", "lammps-dump-text"):
        return
    with opened(readable) as (file, _):
        if kind == "lammps-dump-text":
            for line in file:
                if line.startswith("ITEM: ATOMS") and not {"element", "mass"} & set(line.split()):
                    cure = "write the dump with the column element (dump_modify … element Cu O)"
                    raise InputError(f"{path}: {_TYPES_ONLY}; {cure}")
        elif kind == "vasp":
            _check_poscar(file.readlines(), path)
        else:
            _check_lammps_data(file.readlines(), path)


def _check_poscar(lines: Sequence[str], path: Path) -> None:
    words = [re.split("[!#]", line)[0].split() for line in lines[:7]]
    named = 5 if len(words) > 6 and words[5] and not _is_count(words[5][0]) else 4
    counts = words[named + 1] if len(words) > named + 1 else []
    if not counts or not all(map(_is_count, counts)):
        raise InputError(
            f"{path}: line {named + 2} is {' '.join(counts)!r}, expected numbers of atoms per element"
        )
    atoms = sum(map(int, counts))
    if not 0 < atoms <= len(lines) - named - 3:
        raise InputError(f"{path}: line {named + 2} says {atoms} atoms, but the file has {len(lines)} lines")
    comment = lines[0].strip()
    symbols = re.findall("[A-Z][a-z]?", comment) if _SYMBOLS.fullmatch(comment) else []
    known = len(symbols) == len(counts) and all(symbol in atomic_numbers for symbol in symbols)
    if named == 4 and not known:
        raise InputError(
            f"{path}: line 6 has numbers of atoms, but no line names the elements; write them before it, as in Na Cl"
        )


def _is_count(word: str) -> bool:
    return word.isascii() and word.isdecimal()


def _check_lammps_data(lines: Sequence[str], path: Path) -> None:
    labels = [row[1] for row in _section(lines, "Atom Type Labels") if len(row) > 1]
    masses = [float(row[1]) for row in _section(lines, "Masses") if len(row) > 1]
    if labels and not all(label in atomic_numbers for label in labels):
        labels = []
    if not labels and not masses:
        raise InputError(
            f"{path}: {_TYPES_ONLY}; add a section Masses in g/mol, or Atom Type Labels of elements"
        )
    for number, mass in enumerate(masses):
        nearest = int(np.argmin(np.abs(atomic_masses[1:] - mass))) + 1
        found = chemical_symbols[nearest]
        if abs(mass / atomic_masses[nearest] - 1) > _MASS_TOLERANCE:
            raise InputError(
                f"{path}: type {number + 1} has the mass {mass:g}, which is of no element in g/mol"
            )
        if labels and labels[number : number + 1] != [found]:
            raise InputError(
                f"{path}: type {number + 1} is labelled {labels[number]}, but has the mass of {found}"
            )


def _section(lines: Sequence[str], name: str) -> list[list[str]]:
    """Return the words of the rows of a section of a LAMMPS data file."""
    plain = [line.split("#")[0].split() for line in lines]
    starts = [number for number, words in enumerate(plain) if words == name.split()]
    rows: list[list[str]] = []
    for words in islice(plain, starts[0] + 1 if starts else len(plain), None):
        if words and not words[0].isdecimal():
            break
        if words:
            rows.append(words)
    return rows


def refuse_cif_disorder(atoms: Atoms, source: str) -> None:
    """Refuse a crystal of a CIF with sites that are mixed, partly vacant, split or in groups of disorder.

    The tags of the CIF are removed from `info`.

    Raises:
        InputError: naming the sites.
    """
    tags = {key: atoms.info.pop(key) for key in list(atoms.info) if key.startswith("_")}
    labels = tags.get("_atom_site_label") or tags.get("_atom_site_type_symbol") or []
    partial = [
        f"{label} {occupancy:g}"
        for label, occupancy in zip(labels, _list(tags.get("_atom_site_occupancy")), strict=False)
        if isinstance(occupancy, int | float) and abs(occupancy - 1) > FULL
    ]
    if partial:
        raise InputError(f"{source}: sites are not fully occupied ({_few(partial)}); {_EXPECTED}")
    for name in ("_atom_site_disorder_group", "_atom_site_disorder_assembly"):
        groups = zip(labels, _list(tags.get(name)), strict=False)
        grouped = [f"{label} in {group}" for label, group in groups if str(group) not in _NO_GROUP]
        if grouped:
            raise InputError(f"{source}: sites are disordered ({name}: {_few(grouped)}); {_EXPECTED}")
    structure = from_atoms(atoms, source)
    close = overlap(structure.numbers, *pairs_within(structure, _LARGEST_BOND))
    if close is not None:
        i, j, distance = close
        kinds = atoms.arrays.get("spacegroup_kinds", np.arange(len(atoms)))
        names = [str(labels[kinds[k]]) if kinds[k] < len(labels) else str(k) for k in (i, j)]
        raise InputError(
            f"{source}: sites {names[0]} and {names[1]} are {distance:.3f} Å apart: is a site disordered? {_EXPECTED}"
        )


_EXPECTED = "expected an ordered crystal, in which every site has one element with the occupancy 1"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _few(names: Sequence[str], most: int = 6) -> str:
    return ", ".join([*names[:most], *(["…"] if len(names) > most else [])])
