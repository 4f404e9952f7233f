"""Reference energies E0 of the elements, which are subtracted from energies before the network learns them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from jaxtyping import Float64

from esen.data.frames import Facts, as_frames
from esen.data.neighbours import neighbour_list
from esen.data.structure import Structure
from esen.errors import InputError
from esen.files import read_json

ISOLATED = 6.0
"""Å: distance within which an isolated atom has no neighbour."""


@dataclass(frozen=True, eq=False)
class References:
    """E0 of each element.

    Attributes:
        energies: E0[Z] in eV; zero for elements that do not occur.
        elements: atomic numbers that occur, ascending.
        rank: rank of the fit. If it is below the number of elements, some elements occur only in fixed ratios, as Mg
            and O in MgO, and the solution of least norm is taken.
        confounded: elements whose own E0 the data do not determine.
    """

    energies: Float64[np.ndarray, " max_elements"]
    elements: tuple[int, ...]
    rank: int
    confounded: tuple[int, ...]

    @property
    def rank_deficient(self) -> bool:
        """Whether the data leave some E0 undetermined."""
        return self.rank < len(self.elements)


def fit_references(structures: Sequence[Structure], max_elements: int) -> References:
    """Return the E0 of least norm that minimise Σ (E − Σ_Z n_Z E0_Z)², in float64.

    The table of compositions A is never complete in memory: the factor R of A = QR is updated with some thousand rows
    at a time, and ‖A x − b‖² = ‖R x − Qᵀb‖² + const.

    Args:
        structures: checked structures; those without an energy are left out.
        max_elements: length of the table.

    Raises:
        InputError: none has an energy.
    """
    facts = as_frames(structures).facts
    labelled = facts.take(np.flatnonzero(np.isfinite(facts.energies)))
    if not len(labelled):
        raise InputError("reference energies: no structure has an energy; write data.references: none")
    elements = labelled.elements_seen()
    triangle = np.zeros((0, len(elements) + 1))
    for rows, counts in labelled.compositions(elements):
        stacked = np.concatenate([triangle, np.column_stack([counts, labelled.energies[rows]])])
        triangle = np.asarray(np.linalg.qr(stacked, mode="r"))
    counts, energies = triangle[:, :-1], triangle[:, -1]
    # The tolerance is that of the whole table, which has the singular values of the triangle.
    smallest = np.finfo(np.float64).eps * max(len(labelled), len(elements))
    solution, _, rank, _ = np.linalg.lstsq(counts, energies, rcond=smallest)
    # E0_Z is determined if the unit vector of Z lies in the row space of the counts.
    row_space = np.linalg.svd(counts, full_matrices=False)[2][:rank]
    fixed = np.square(row_space).sum(axis=0) > 1 - 1e-9
    table = np.zeros(max_elements)
    table[elements] = solution
    return References(
        energies=table,
        elements=tuple(elements),
        rank=int(rank),
        confounded=tuple(z for z, known in zip(elements, fixed, strict=True) if not known),
    )


def isolated_references(structures: Sequence[Structure], max_elements: int) -> References:
    """Return E0 from frames of one atom that has no image within 6 Å, or whose `config_type` is `IsolatedAtom`.

    Raises:
        InputError: an element has no such frame, or two of different energy.
    """
    frames = as_frames(structures)
    facts = frames.facts
    found: dict[int, Structure] = {}
    for index in np.flatnonzero((facts.atoms == 1) & np.isfinite(facts.energies)).tolist():
        atom = frames[index]
        if not _is_alone(atom):
            continue
        element = int(atom.numbers[0])
        before = found.setdefault(element, atom)
        if abs((before.energy or 0.0) - (atom.energy or 0.0)) > 1e-3:
            raise InputError(
                f"{atom.source}: isolated {chemical_symbols[element]} has {atom.energy:.6g} eV,"
                f" but {before.energy:.6g} eV in {before.source}"
            )
    known = {element: atom.energy or 0.0 for element, atom in found.items()}
    return _of_table(known, facts, max_elements, "data.references: isolated_atoms: no isolated atom of {}")


def read_references(path: Path, structures: Sequence[Structure], max_elements: int) -> References:
    """Read E0 from a JSON file: `{"H": -1.2, …}` in eV, or that under `energies`. Keys may be atomic numbers.

    Args:
        path: the file.
        structures: all their elements must have an energy.
        max_elements: length of the table.

    Raises:
        InputError: the file cannot be read, has other content, or lacks an element of the structures.
    """
    content = read_json(path, "expected energies by element in eV")
    table = content.get("energies", content)
    if not isinstance(table, dict):
        raise InputError(f'{path}: expected energies by element in eV, as in {{"H": -1.2, "O": -4.3}}')
    known = {}
    for key, value in table.items():
        number = int(key) if key.isdecimal() else atomic_numbers.get(key, 0)
        if not 0 < number < len(chemical_symbols) or isinstance(value, bool):
            raise InputError(f"{path}: {key!r} is no element")
        if not isinstance(value, int | float) or not np.isfinite(value):
            raise InputError(f"{path}: {key} is {value!r}, expected a number, the energy in eV")
        known[number] = float(value)
    return _of_table(known, as_frames(structures).facts, max_elements, f"{path}: no energy of {{}}")


def no_references(structures: Sequence[Structure], max_elements: int) -> References:
    """Return E0 = 0 for all elements."""
    elements = tuple(as_frames(structures).facts.elements_seen())
    return References(np.zeros(max_elements), elements, len(elements), ())


def _of_table(known: dict[int, float], facts: Facts, max_elements: int, missing: str) -> References:
    elements = tuple(facts.elements_seen())
    unknown = [chemical_symbols[z] for z in elements if z not in known]
    if unknown:
        raise InputError(missing.format(", ".join(unknown)))
    table = np.zeros(max_elements)
    table[list(elements)] = [known[z] for z in elements]
    return References(table, elements, len(elements), ())


def _is_alone(atom: Structure) -> bool:
    if str(atom.info.get("config_type", "")).lower().replace("_", "") == "isolatedatom":
        return True
    if not atom.pbc.any():
        return True
    return not len(neighbour_list(atom.positions, atom.cell, atom.pbc, ISOLATED)[0])
