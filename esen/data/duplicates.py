"""Frames with the same geometry, in whatever order and in whichever cells their atoms are written."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt64

from esen.data.structure import Structure

GRID = 4e-5
"""Å. Frames are the same if four sums over cell and positions agree to half of this; text of six decimals does."""
_SUMS = 4
_CHUNK = 2048
_WAVES = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1]])
_FACTORS = np.cos(np.arange(1.0, 1 + _SUMS * 30).reshape(_SUMS, 30) ** 1.5)
"""Fixed factors without a pattern: 9 for the cell, 12 for waves, 9 for directions without a period."""


def geometry_keys(frames: Sequence[Structure]) -> UInt64[np.ndarray, " K"]:
    """Return the different keys of the geometries, sorted: 8 bytes for each."""
    found = [_keys(kinds, np.floor(sums / GRID)) for kinds, sums in _geometries(frames)]
    return np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=np.uint64)


def are_among(frames: Sequence[Structure], keys: UInt64[np.ndarray, " K"]) -> Bool[np.ndarray, " F"]:
    """Return which frames have a geometry whose key is among `keys`, those of `geometry_keys`."""
    found = []
    for kinds, sums in _geometries(frames):
        sides = np.stack([np.floor(sums / GRID - 0.5), np.floor(sums / GRID + 0.5)])
        near = [
            np.stack([sides[s, :, j] for j, s in enumerate(c)], axis=1) for c in product((0, 1), repeat=_SUMS)
        ]
        found.append(np.any([np.isin(_keys(kinds, places), keys) for places in near], axis=0))
    return np.concatenate(found) if found else np.zeros(0, dtype=np.bool_)


def _geometries(
    frames: Sequence[Structure],
) -> Iterator[tuple[UInt64[np.ndarray, " F"], Float64[np.ndarray, "F 4"]]]:
    """Iterate over hashes of the composition, and sums that do not depend on the order of atoms and their cells."""
    for first in range(0, len(frames), _CHUNK):
        chunk = [frames[i] for i in range(first, min(first + _CHUNK, len(frames)))]
        counts = np.array([len(s) for s in chunk])
        starts, of_atom = np.cumsum(counts) - counts, np.repeat(np.arange(len(chunk)), counts)
        numbers = np.concatenate([s.numbers for s in chunk])
        positions = np.concatenate([s.positions for s in chunk])
        cells = np.stack([s.cell * s.pbc[:, None] for s in chunk])
        sums = _summed(numbers, positions, cells, starts, of_atom)
        yield np.add.reduceat(_mixed(numbers.astype(np.uint64)), starts), sums


def _summed(
    numbers: Int64[np.ndarray, " N"],
    positions: Float64[np.ndarray, "N 3"],
    cells: Float64[np.ndarray, "F 3 3"],
    starts: Int64[np.ndarray, " F"],
    of_atom: Int64[np.ndarray, " N"],
) -> Float64[np.ndarray, "F 4"]:
    """Return four sums over the cell and the atoms of each frame.

    An atom at fractional coordinates s adds cos and sin of 2π k · s for six k, which no lattice vector changes, and its
    distances from the centre along directions without a period. Elements have different weights; all terms are in Å.

    Args:
        numbers: atomic numbers of all frames.
        positions: in Å.
        cells: periodic rows of the cells in Å; zero along other directions.
        starts: index of the first atom of each frame.
        of_atom: index of the frame of each atom.
    """
    counts = np.diff(starts, append=len(numbers))
    weights = (1 + numbers / 50)[:, None]
    inverse, whole = np.zeros_like(cells), np.abs(np.linalg.det(cells)) > 0
    inverse[whole], inverse[~whole] = np.linalg.inv(cells[whole]), np.linalg.pinv(cells[~whole])
    fractional = np.einsum("ai,aij->aj", positions, inverse[of_atom])

    lengths = np.linalg.norm(np.einsum("kj,fij->fki", _WAVES, inverse), axis=2)
    scale = np.where(lengths > 1e-9, 1 / (2 * np.pi * np.maximum(lengths, 1e-9)), 0)[of_atom]
    angles = 2 * np.pi * fractional @ _WAVES.T
    waves = (np.cos(angles) * scale, np.sin(angles) * scale)

    outside = positions - np.einsum("ai,aij->aj", fractional, cells[of_atom])
    centre = np.add.reduceat(outside * weights, starts) / np.add.reduceat(weights, starts)
    outside -= centre[of_atom]
    size = np.sqrt(1 + np.add.reduceat((outside**2).sum(axis=1), starts) / counts)[of_atom, None]
    moments = (weights * outside, outside**2 / size, outside**3 / size**2)

    terms = np.concatenate([*waves, *moments], axis=1) @ _FACTORS[:, 9:].T
    summed = np.add.reduceat(terms * weights, starts) / np.sqrt(counts)[:, None]
    return np.asarray(summed + cells.reshape(-1, 9) @ _FACTORS[:, :9].T)


def _keys(kinds: UInt64[np.ndarray, " F"], places: Float64[np.ndarray, "F 4"]) -> UInt64[np.ndarray, " F"]:
    keys = kinds
    for column in places.astype(np.int64).astype(np.uint64).T:
        keys = _mixed(keys ^ _mixed(column))
    return keys


def _mixed(values: UInt64[np.ndarray, " F"]) -> UInt64[np.ndarray, " F"]:
    """Return a hash of each number (the finalizer of SplitMix64, Steele et al., 2014)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))
