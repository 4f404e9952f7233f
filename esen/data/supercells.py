"""Supercells: the grammar in which a user gives one, and its atoms."""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from esen.data.constraints import repeated_constraints
from esen.data.structure import Structure
from esen.errors import InputError


def parse_supercell(text: str, option: str = "--supercell") -> Int64[np.ndarray, "3 3"]:
    """Return phonopy's supercell matrix for `2,2,2`, `2x2x2`, `2×2×2` or nine numbers, row by row.

    Args:
        text: the value of the option.
        option: the name of the option, for the error.

    Raises:
        InputError: it is none of these, or the matrix spans no volume or is left-handed.

    >>> parse_supercell("1,2,3").tolist()
    [[1, 0, 0], [0, 2, 0], [0, 0, 3]]
    """
    try:
        values = [int(part) for part in re.split(r"[,x×]", text)]
    except ValueError:
        values = []
    counts = len(values) == 3 and min(values) > 0
    if not (counts or len(values) == 9) or np.linalg.det(matrix_of(values)) < 0.5:
        raise InputError(
            f"{option} {text!r}: expected three whole numbers above 0, such as 2,2,2 or 2x2x2, or the nine of a matrix"
        )
    return matrix_of(values)


def matrix_of(values: Sequence[int]) -> Int64[np.ndarray, "3 3"]:
    """Return the matrix of three multiples or of nine numbers, row by row."""
    numbers = np.array(values, dtype=np.int64)
    return np.diag(numbers) if numbers.size == 3 else numbers.reshape(3, 3)


def repeated(
    structure: Structure, matrix: Int64[np.ndarray, "3 3"], option: str = "--supercell"
) -> Structure:
    """Return a supercell whose atoms are the structure's, once per lattice point, in its order.

    It has the masses and what is fixed of single atoms, but no labels.

    Args:
        structure: the unit cell.
        matrix: phonopy's supercell matrix: the new lattice vectors are its columns, as multiples of the old ones.
        option: the name of the option that asks for it, for the error.

    Raises:
        InputError: the matrix would repeat the structure along a lattice vector that is not periodic.
    """
    changed = matrix != np.eye(3)
    for axis in np.flatnonzero(~structure.pbc & (changed.any(axis=0) | changed.any(axis=1))):
        raise InputError(f"{structure.source}: {option}: lattice vector {axis + 1} is not periodic")
    points = _lattice_points(matrix).astype(np.float64)
    shifts = points @ structure.cell
    return Structure(
        numbers=np.tile(structure.numbers, len(shifts)),
        positions=(shifts[:, None] + structure.positions[None]).reshape(-1, 3),
        cell=matrix.T.astype(np.float64) @ structure.cell,
        pbc=structure.pbc,
        source=structure.source,
        masses=None if structure.masses is None else np.tile(structure.masses, len(shifts)),
        constraints=repeated_constraints(structure, len(shifts)),
    )


def _lattice_points(matrix: Int64[np.ndarray, "3 3"]) -> Int64[np.ndarray, "P 3"]:
    """Return the lattice points of the unit cell that lie in the supercell, in lexicographic order."""
    low, high = np.minimum(matrix, 0).sum(axis=1), np.maximum(matrix, 0).sum(axis=1)
    points = low + np.array(list(np.ndindex(*(high - low + 1))), dtype=np.int64)
    # In multiples of the supercell's vectors: whole numbers over the volume, so that the comparison is exact.
    volume = round(np.linalg.det(matrix))
    adjugate = np.rint(np.linalg.inv(matrix) * volume).astype(np.int64)
    within = points @ adjugate.T
    inside: np.ndarray = points[((within >= 0) & (within < volume)).all(axis=1)]
    return inside
