"""Moves of a structure: the same material in another place, orientation, order or cell."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float64, Int64

from esen.data.neighbours import neighbour_list
from esen.data.structure import Structure

BOX = 30.0
"""Å. Isolated atoms are placed in a periodic box of this length, because many calculators need a cell."""
OBLIQUE = np.array([0.48, 0.6, 0.64])
"""A unit vector that is far from all axes."""


def named(structure: Structure, what: str) -> Structure:
    """Add to the source what was done to a structure."""
    return replace(structure, source=f"{structure.source}, {what}")


def bare(structure: Structure) -> Structure:
    """Remove the labels, which would be wrong after a move."""
    return replace(structure, energy=None, forces=None, stress=None, info={}, arrays={})


def moved(structure: Structure, displacement: Float64[np.ndarray, "#N 3"]) -> Structure:
    """Displace the atoms, in Å."""
    return replace(structure, positions=structure.positions + displacement)


def turned(structure: Structure, matrix: Float64[np.ndarray, "3 3"]) -> Structure:
    """Rotate positions and lattice vectors, r → R r. An improper rotation mirrors them."""
    return replace(structure, positions=structure.positions @ matrix.T, cell=structure.cell @ matrix.T)


def strained(structure: Structure, strain: Float64[np.ndarray, "3 3"]) -> Structure:
    """Strain positions and rows of the cell, r → r (1 + ε)."""
    deformation = np.eye(3) + strain
    return replace(structure, positions=structure.positions @ deformation, cell=structure.cell @ deformation)


def permuted(structure: Structure, order: Int64[np.ndarray, " N"]) -> Structure:
    """Reorder the atoms: atom `order[k]` becomes atom k."""
    return replace(structure, numbers=structure.numbers[order], positions=structure.positions[order])


def two_atoms(
    numbers: Sequence[int], distance: float, source: str, direction: Float64[np.ndarray, "3"] = OBLIQUE
) -> Structure:
    """Place two atoms at a distance, in Å, in the middle of an empty box."""
    return atoms_in_box(numbers, np.outer([0.0, distance], direction), source)


def pair_name(a: int, b: int) -> str:
    """Return the name of a pair of elements.

    >>> pair_name(12, 8)
    'Mg–O'
    """
    return f"{chemical_symbols[a]}–{chemical_symbols[b]}"


def atoms_in_box(numbers: Sequence[int], positions: Float64[np.ndarray, "N 3"], source: str) -> Structure:
    """Place atoms in the middle of an empty box."""
    centred = positions - positions.mean(axis=0) + BOX / 2
    return Structure(
        np.array(numbers, dtype=np.int64), centred, np.eye(3) * BOX, np.ones(3, dtype=bool), source=source
    )


def random_rotation(rng: np.random.Generator) -> Float64[np.ndarray, "3 3"]:
    """Draw a rotation uniformly from all proper rotations."""
    w, x, y, z = _unit(rng.normal(size=4)).tolist()
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def rotation_onto(
    start: Float64[np.ndarray, "3"], end: Float64[np.ndarray, "3"]
) -> Float64[np.ndarray, "3 3"]:
    """Return the product of two half turns that rotates the direction of `start` onto that of `end`."""
    a, b = _unit(start), _unit(end)
    if np.linalg.norm(a + b) < 1e-6:
        across = _unit(np.cross(a, np.eye(3)[np.argmin(np.abs(a))]))
        half_turn: np.ndarray = 2 * np.outer(across, across) - np.eye(3)
        return half_turn
    both = _unit(a + b)
    rotation: np.ndarray = (2 * np.outer(both, both) - np.eye(3)) @ (2 * np.outer(a, a) - np.eye(3))
    return rotation


def shortest_bond(structure: Structure) -> tuple[int, int, Float64[np.ndarray, "3"]] | None:
    """Return the two different atoms that are nearest to each other, and the vector from the first to the second.

    The result is None if no two are within 8 Å.
    """
    for reach in (2.0, 4.0, 8.0):
        i, j, vectors = pairs_within(structure, reach)
        if len(i):
            nearest = int(np.argmin(np.linalg.norm(vectors, axis=1)))
            return int(i[nearest]), int(j[nearest]), vectors[nearest]
    return None


def pairs_within(
    structure: Structure, reach: float
) -> tuple[Int64[np.ndarray, " P"], Int64[np.ndarray, " P"], Float64[np.ndarray, "P 3"]]:
    """Return pairs of different atoms up to `reach` Å apart, images included, and the vectors between them.

    A vector points from the first atom of its pair to the second.
    """
    sender, receiver, shift = neighbour_list(structure.positions, structure.cell, structure.pbc, reach)
    different = sender != receiver
    sender, receiver, shift = sender[different], receiver[different], shift[different]
    vectors = structure.positions[sender] - structure.positions[receiver] + shift @ structure.cell
    return receiver, sender, vectors


def _unit(vector: np.ndarray) -> np.ndarray:
    length: np.ndarray = vector / np.linalg.norm(vector)
    return length
