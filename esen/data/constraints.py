"""Constraints of a file, as ASE's objects: which directions each atom may move in, and which other rules there are."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ase.constraints import FixAtoms, FixCartesian, FixCom, FixedLine, FixedPlane, FixScaled, FixSymmetry
from jaxtyping import Float64

from esen.data.structure import Structure
from esen.errors import InputError

_OF_ATOMS = (FixAtoms, FixCartesian, FixScaled, FixedPlane, FixedLine)
"""Constraints that fix directions of single atoms. All others are rules for several atoms, or forces."""


def free_directions(
    constraints: Sequence[Any], cell: Float64[np.ndarray, "3 3"], atoms: int
) -> Float64[np.ndarray, "N 3 3"] | None:
    """Return the orthogonal projection onto the directions in which each atom may move; None if nothing is fixed.

    Several constraints of one atom all hold. A component that is fixed in scaled coordinates (`FixScaled`, selective
    dynamics of VASP) leaves the plane of the other two lattice vectors.

    Args:
        constraints: ASE's constraints; those that are not of single atoms are not considered.
        cell: lattice vectors as rows, in Å.
        atoms: number of atoms.
    """
    normals: dict[int, list[Float64[np.ndarray, "K 3"]]] = {}
    for constraint in constraints:
        if _of_atoms(constraint):
            fixed = _fixed_directions(constraint, cell)
            for atom in np.atleast_1d(constraint.index) % atoms:
                normals.setdefault(int(atom), []).append(fixed)
    if not any(map(np.size, (rows for found in normals.values() for rows in found))):
        return None
    free = np.tile(np.eye(3), (atoms, 1, 1))
    for atom, found in normals.items():
        rows = np.concatenate(found)
        whole = len(rows) >= 3 and np.linalg.matrix_rank(rows, 1e-10) == 3
        free[atom] = 0.0 if whole else np.eye(3) - np.linalg.pinv(rows, rcond=1e-10) @ rows
    free[np.abs(free) < 1e-14] = 0.0  # so that what is fixed along an axis stays to the last bit
    return free


def projected(
    vectors: Float64[np.ndarray, "N 3"], free: Float64[np.ndarray, "N 3 3"] | None
) -> Float64[np.ndarray, "N 3"]:
    """Return the components of vectors of atoms along directions that are free."""
    return vectors if free is None else np.einsum("nij,nj->ni", free, vectors)


def other_constraints(constraints: Sequence[Any]) -> list[Any]:
    """Return the constraints that do not fix directions of single atoms, such as bond lengths and springs."""
    return [constraint for constraint in constraints if not _of_atoms(constraint)]


def held_atoms_only(structure: Structure, where: str) -> Structure:
    """Return the structure with only the constraints of single atoms.

    What a relaxation keeps, the space group and the centre of mass, is left out.

    Args:
        structure: with any constraints.
        where: what cannot keep other ones, for the message.

    Raises:
        InputError: there are other constraints, such as bond lengths or springs.
    """
    others = other_constraints(structure.constraints)
    if refused := [other for other in others if not isinstance(other, FixSymmetry | FixCom)]:
        raise InputError(f"{structure.source}: {where} cannot keep {named(refused)}; remove the constraint")
    return replace(structure, constraints=tuple(filter(_of_atoms, structure.constraints)))


def named(constraints: Sequence[Any]) -> str:
    """Return the kinds of constraints, for messages."""
    return ", ".join(dict.fromkeys(type(constraint).__name__ for constraint in constraints))


def without_constraints(structure: Structure) -> Structure:
    """Return the structure without constraints."""
    return replace(structure, constraints=())


def ignored_constraints(structure: Structure) -> tuple[str, ...]:
    """Return a remark of a result that does not depend on the constraints of the structure; nothing if it has none."""
    kinds = named(structure.constraints)
    return (f"constraints of the file ({kinds}) are not considered: all atoms move",) if kinds else ()


def axis_constraints(structure: Structure) -> list[Any]:
    """Return what is fixed along Cartesian axes, as the only constraints that extended XYZ can hold."""
    free = free_directions(structure.constraints, structure.cell, len(structure))
    if free is None:
        return []
    fixed = np.isclose(np.diagonal(free, axis1=1, axis2=2), 0.0, atol=1e-8)
    masks = {
        tuple(mask): np.flatnonzero((fixed == mask).all(axis=1))
        for mask in np.unique(fixed, axis=0)
        if mask.any()
    }
    return [FixAtoms(atoms) if all(mask) else FixCartesian(atoms, mask=mask) for mask, atoms in masks.items()]


def constraints_beside_axes(structure: Structure) -> list[Any]:
    """Return the constraints that `axis_constraints` cannot express, at least in part."""
    every = (axis_constraints(structure), structure.constraints)
    kept, wanted = (free_directions(some, structure.cell, len(structure)) for some in every)
    if wanted is None or (kept is not None and np.allclose(kept, wanted, atol=1e-8)):
        return other_constraints(structure.constraints)
    return [c for c in structure.constraints if not isinstance(c, FixAtoms | FixCartesian)]


def repeated_constraints(structure: Structure, copies: int) -> tuple[Any, ...]:
    """Return what is fixed of single atoms in a supercell whose atoms are the structure's, several times in order."""
    found: list[Any] = []
    for constraint in filter(_of_atoms, structure.constraints):
        starts = np.arange(copies)[:, None] * len(structure)
        atoms = (starts + np.atleast_1d(constraint.index) % len(structure)).ravel()
        directions = _fixed_directions(constraint, structure.cell)
        found += [FixedPlane(atoms, direction) for direction in directions]
    return tuple(found)


def check_constraints(structure: Structure) -> None:
    """Refuse constraints of atoms that do not exist.

    Raises:
        InputError: there is such a constraint.
    """
    atoms = len(structure)
    for constraint in structure.constraints:
        for index in np.atleast_1d(constraint.index) if _of_atoms(constraint) else ():
            if not -atoms <= index < atoms:
                raise InputError(
                    f"{structure.source}: {named([constraint])} fixes atom {index}, but there are {atoms} atoms"
                )


def _of_atoms(constraint: Any) -> bool:
    return isinstance(constraint, _OF_ATOMS)


def _fixed_directions(constraint: Any, cell: Float64[np.ndarray, "3 3"]) -> Float64[np.ndarray, "K 3"]:
    """Return the directions in which a constraint lets its atoms not move."""
    match constraint:
        case FixCartesian():
            return np.asarray(np.eye(3)[np.asarray(constraint.mask, dtype=bool)])
        case FixScaled():
            periods = np.where(np.any(cell, axis=1)[:, None], cell, np.eye(3))
            normals = np.linalg.inv(periods).T
            rows = normals / np.linalg.norm(normals, axis=1, keepdims=True)
            return np.asarray(rows[np.asarray(constraint.mask, dtype=bool)])
        case FixedPlane():
            return np.asarray(constraint.dir, dtype=np.float64)[None]
        case FixedLine():
            return np.asarray(np.eye(3) - np.outer(constraint.dir, constraint.dir))
    return np.eye(3)
