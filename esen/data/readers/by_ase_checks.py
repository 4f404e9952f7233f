"""What ASE's readers guess silently, and is refused here: unnamed elements, and crystals with disordered sites."""

import re
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers

from esen.data.atoms import from_atoms
from esen.data.checks import FULL, overlap, pairs_within
from esen.data.readers.opening import opened
from esen.errors import InputError
from esen.files import refuse_nesting
from esen.text import first_few

_LARGEST_BOND = 2.7
"""Å. No two elements have covalent radii of which half the sum is larger."""
_MASS_TOLERANCE = 0.005
"""Relative difference of a mass from that of the element which it names."""
_COUNTED = {
    "lammps-data": (r"^[ \t]*(\d+)[ \t]+atoms\b", r"^Atoms\b.*\n\s*((?:[ \t]*[\d-].*\n?)*)"),
    "lammps-dump-text": (r"^ITEM: NUMBER OF ATOMS\s+(\d+)", r"^ITEM: ATOMS\b.*\n?((?:(?!ITEM:).+\n?)*)"),
}
"""Numbers of atoms and their rows, in formats of which ASE reads as many rows as they say."""
_SYMBOLS = re.compile(r"(?:[A-Z][a-z]?\d*(?:[\s_-]+|$))+")
_ELEMENTS = re.compile("^ITEM: ATOMS .*element", re.MULTILINE)
_ROW = re.compile(r"\s*[-+.\d]\S*\s+[-+.\d]\S*\s+[-+.\d]")
_FORMULA = re.compile(r"(?:[A-Z][a-z]?[\d.]*\s*)+")
_NAMED = 6
"""Sites that a message names."""
_NO_GROUP = ("", ".", "?")
_EXPECTED = "expected an ordered crystal, in which every site has one element with the occupancy 1"
_NAME_THEM = "write Masses in g/mol or Atom Type Labels of elements, in a dump the column element"


def check_text(readable: Path, path: Path, kind: str) -> None:
    """Refuse a `POSCAR` that does not say which elements its atoms are, and files of which other parts mislead ASE.

    Args:
        readable: the file or a copy of it.
        path: name of the file, for messages.
        kind: ASE's name of the format.

    Raises:
        InputError: as above.
    """
    if kind not in ("vasp", "vasp-xdatcar", "json", *_COUNTED):
        return
    with opened(readable) as (file, _):
        text = file.read()
    if kind == "json":
        refuse_nesting(text)
        return
    if kind in _COUNTED:
        counts, rows = (re.findall(pattern, text, re.MULTILINE) for pattern in _COUNTED[kind])
        for frame, (count, block) in enumerate(zip_longest(counts, rows, fillvalue="")):
            if count != str(found := len(block.splitlines())):
                raise InputError(
                    f"{path}, frame {frame}: says {count or 'not how many'} atoms, but has {found} rows of atoms"
                )
        return
    lines = text.splitlines()
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
    if kind == "vasp":
        _check_rows(lines, named + 2, atoms, path)
    comment = lines[0].strip()
    symbols = re.findall("[A-Z][a-z]?", comment) if _SYMBOLS.fullmatch(comment) else []
    known = len(symbols) == len(counts) and all(symbol in atomic_numbers for symbol in symbols)
    if named == 4 and not known:
        raise InputError(
            f"{path}: line 6 has numbers of atoms, but no line names the elements; write them before it, as in Na Cl"
        )


def _check_rows(lines: list[str], start: int, atoms: int, path: Path) -> None:
    """Refuse rows of atoms in a `POSCAR` that are not three numbers, or have other flags than T and F.

    VASP knows more spellings of logical values, of which ASE takes all but F for T.
    """
    selective = lines[start].strip()[:1] in ("S", "s")
    first = start + 1 + selective
    rows = [*lines[first : first + atoms + 1], ""]
    if len(rows) <= atoms or _ROW.match(rows[atoms]):
        raise InputError(
            f"{path}: line {start} says {atoms} atoms, but there are {'fewer' if len(rows) <= atoms else 'more'} rows"
        )
    for number, line in enumerate(rows[:atoms], start=first + 1):
        words = line.split()
        flags = words[3:6] if selective else []
        if len(words) < 3 + 3 * selective or not {"T", "F"}.issuperset(flags):
            flagged = " and three of T or F" if selective else ""
            raise InputError(f"{path}: line {number} is {line.strip()!r}, expected three numbers{flagged}")


def _is_count(word: str) -> bool:
    return word.isascii() and word.isdecimal()


def refuse_types(atoms: Atoms, source: str, kind: str, start: str) -> None:
    """Refuse atoms of LAMMPS that have a type and no element. ASE takes types for atomic numbers, and rounds masses.

    Args:
        atoms: as ASE read them.
        source: file and frame, for messages.
        kind: ASE's name of the format.
        start: beginning of the file, which shows whether a dump names elements.

    Raises:
        InputError: as above.
    """
    masses = atoms.arrays.get("masses", atoms.arrays.get("mass"))
    standard = atomic_masses[atoms.numbers]
    if masses is not None:
        wrong = (np.abs(masses / standard - 1) > _MASS_TOLERANCE) | (atoms.numbers == 0)
        if wrong.any():
            raise InputError(
                f"{source}: the mass {masses[wrong][0]:g} is of no element in g/mol; {_NAME_THEM}"
            )
    types = atoms.arrays.get("type", atoms.numbers)
    has_elements = kind != "lammps-data" and _ELEMENTS.search(start)
    if masses is None and not has_elements and (types == atoms.numbers).all():
        raise InputError(
            f"{source}: has types of atoms but no elements, which esen does not guess; {_NAME_THEM}"
        )


def refuse_cif_disorder(atoms: Atoms, source: str) -> None:
    """Refuse a crystal of a CIF with sites that are mixed, partly vacant, split or in groups of disorder.

    The tags of the CIF are removed from `info`.

    Raises:
        InputError: naming the sites.
    """
    tags = {key: atoms.info.pop(key) for key in list(atoms.info) if key.startswith("_")}
    labels = tags.get("_atom_site_label") or tags.get("_atom_site_type_symbol") or []
    partial = [
        f"{label} {occupancy}"
        for label, occupancy in zip(labels, _list(tags.get("_atom_site_occupancy")), strict=False)
        if not _is_full(occupancy)
    ]
    if partial:
        raise InputError(
            f"{source}: sites are not fully occupied ({first_few(partial, _NAMED)}); {_EXPECTED}"
        )
    for name in ("_atom_site_disorder_group", "_atom_site_disorder_assembly"):
        groups = zip(labels, _list(tags.get(name)), strict=False)
        grouped = [f"{label} in {group}" for label, group in groups if str(group) not in _NO_GROUP]
        if grouped:
            raise InputError(
                f"{source}: sites are disordered ({name}: {first_few(grouped, _NAMED)}); {_EXPECTED}"
            )
    _refuse_replaced(atoms, tags, labels, source)
    _refuse_missing(atoms, tags, labels, source)
    structure = from_atoms(atoms, source)
    close = overlap(structure.numbers, *pairs_within(structure, _LARGEST_BOND))
    if close is not None:
        i, j, distance = close
        kinds = atoms.arrays.get("spacegroup_kinds", np.arange(len(atoms)))
        names = [str(labels[kinds[k]]) if kinds[k] < len(labels) else str(k) for k in (i, j)]
        raise InputError(
            f"{source}: sites {names[0]} and {names[1]} are {distance:.3f} Å apart: is a site disordered? {_EXPECTED}"
        )


def _refuse_replaced(atoms: Atoms, tags: dict[str, Any], labels: Sequence[str], source: str) -> None:
    """Refuse a site of one element at the place of another, which ASE leaves out if there are no occupancies.

    Raises:
        InputError: naming the site and the element.
    """
    kinds = atoms.arrays.get("spacegroup_kinds", np.arange(len(labels)))
    for site in sorted(set(range(len(labels))) - set(kinds.tolist())):
        apart = atoms.get_scaled_positions() - [tags[f"_atom_site_fract_{axis}"][site] for axis in "xyz"]
        there = atoms.symbols[int(np.abs(apart - np.rint(apart)).sum(axis=1).argmin())]
        if not re.match(rf"{there}(?![a-z])", tags.get("_atom_site_type_symbol", labels)[site]):
            raise InputError(f"{source}: site {labels[site]} is at the place of {there}; {_EXPECTED}")


def _is_full(occupancy: Any) -> bool:
    """Return whether a site is full: an occupancy of 1, with or without its error, or none."""
    if str(occupancy) in _NO_GROUP:
        return True
    try:
        return abs(float(str(occupancy).split("(")[0]) - 1) <= FULL
    except ValueError:
        return False


def _refuse_missing(atoms: Atoms, tags: dict[str, Any], labels: Sequence[str], source: str) -> None:
    """Refuse a crystal of which some atoms were not located, as is usual of hydrogen.

    Raises:
        InputError: naming a site with hydrogen that has no site of its own, or an element of the formula without sites.
    """
    for label, attached in zip(labels, _list(tags.get("_atom_site_attached_hydrogens")), strict=False):
        if isinstance(attached, int) and attached > 0:
            raise InputError(f"{source}: {attached} H of site {label} have no sites; {_EXPECTED}")
    formula = str(tags.get("_chemical_formula_sum", ""))
    symbols = re.findall("[A-Z][a-z]?", formula) if _FORMULA.fullmatch(formula) else []
    there = {*atoms.symbols, *(("D", "T") if "H" in atoms.symbols else ())}
    missing = [symbol for symbol in symbols if symbol not in there]
    if missing:
        raise InputError(f"{source}: {', '.join(missing)} of the formula have no sites; {_EXPECTED}")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
