"""Structures that are the same material in another place, orientation, order or cell."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float64, Int64

from esen.data.neighbours import neighbour_list
from esen.data.structure import Structure

BOX = 30.0
"""Å. Atoms on their own stand in a periodic box of this length: many calculators ask for a cell."""


def named(structure: Structure, what: str) -> Structure:
    """The same, with what was done to it added to its source."""
    return replace(structure, source=f"{structure.source}, {what}")


def bare(structure: Structure) -> Structure:
    """The geometry alone: after a move the labels would be wrong."""
    return replace(structure, energy=None, forces=None, stress=None, info={})


def moved(structure: Structure, displacement: Float64[np.ndarray, "#N 3"]) -> Structure:
    """Atoms displaced, in Å."""
    return replace(structure, positions=structure.positions + displacement)


def turned(structure: Structure, matrix: Float64[np.ndarray, "3 3"]) -> Structure:
    """Positions and lattice vectors turned, r → R r; minus a rotation mirrors."""
    return replace(structure, positions=structure.positions @ matrix.T, cell=structure.cell @ matrix.T)


def strained(structure: Structure, strain: Float64[np.ndarray, "3 3"]) -> Structure:
    """Positions and rows of the cell strained, r → r (1 + ε)."""
    deformation = np.eye(3) + strain
    return replace(structure, positions=structure.positions @ deformation, cell=structure.cell @ deformation)


def permuted(structure: Structure, order: Int64[np.ndarray, " N"]) -> Structure:
    """Atom `order[k]` becomes atom k."""
    return replace(structure, numbers=structure.numbers[order], positions=structure.positions[order])


def supercell(structure: Structure, repeats: Sequence[int]) -> Structure:
    """So many copies along each lattice vector, the first copy's atoms first."""
    steps = np.stack(np.meshgrid(*map(np.arange, repeats), indexing="ij"), axis=-1).reshape(-1, 3)
    return replace(
        structure,
        numbers=np.tile(structure.numbers, len(steps)),
        positions=np.concatenate([structure.positions + step @ structure.cell for step in steps]),
        cell=structure.cell * np.array(repeats, dtype=np.float64)[:, None],
    )


def atoms_in_box(numbers: Sequence[int], positions: Float64[np.ndarray, "N 3"], source: str) -> Structure:
    """Atoms in the middle of an empty box."""
    centred = positions - positions.mean(axis=0) + BOX / 2
    return Structure(
        np.array(numbers, dtype=np.int64), centred, np.eye(3) * BOX, np.ones(3, dtype=bool), source=source
    )


def random_rotation(rng: np.random.Generator) -> Float64[np.ndarray, "3 3"]:
    """Uniform over all proper rotations."""
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
    """The product of two half turns that takes the direction of `start` to that of `end`."""
    a, b = _unit(start), _unit(end)
    if np.linalg.norm(a + b) < 1e-6:
        across = _unit(np.cross(a, np.eye(3)[np.argmin(np.abs(a))]))
        half_turn: np.ndarray = 2 * np.outer(across, across) - np.eye(3)
        return half_turn
    both = _unit(a + b)
    rotation: np.ndarray = (2 * np.outer(both, both) - np.eye(3)) @ (2 * np.outer(a, a) - np.eye(3))
    return rotation


def shortest_bond(structure: Structure) -> tuple[int, int, Float64[np.ndarray, "3"]] | None:
    """Two different atoms that are nearest to each other, and the vector from the first to the second.

    None where no two are within 8 Å.
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
    """Pairs of different atoms up to `reach` Å, images included, and the vectors from the first to the second."""
    sender, receiver, shift = neighbour_list(structure.positions, structure.cell, structure.pbc, reach)
    different = sender != receiver
    sender, receiver, shift = sender[different], receiver[different], shift[different]
    vectors = structure.positions[sender] - structure.positions[receiver] + shift @ structure.cell
    return receiver, sender, vectors


def _unit(vector: np.ndarray) -> np.ndarray:
    length: np.ndarray = vector / np.linalg.norm(vector)
    return length
