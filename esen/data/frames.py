"""Sequences of structures behind one interface, in memory or in a memory-mapped file, and the facts of their frames."""

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Self, overload

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64, UInt8

from esen.data.structure import Structure
from esen.data.targets import TARGETS, Target

DIGEST_BYTES = 16
_ELEMENTS = 256
"""Number of values of a byte, in which atomic numbers are stored."""


@dataclass(frozen=True, eq=False)
class Facts:
    """Columns with one entry per frame, in order.

    Attributes:
        atoms: number of atoms.
        energies: in eV; NaN if there is none.
        force_squares: Σ |F|² over the atoms in eV²/Å²; NaN if there are no forces.
        largest_forces: max |F| in eV/Å; NaN if there are no forces.
        periodic: whether all three lattice vectors are periodic.
        stressed: whether there is a stress.
        kinds: number of different elements.
        elements: the atomic numbers of the first frame, ascending, then those of the second, …
        counts: number of atoms of each of these elements.
        digests: hashes of geometry and labels.
        weights: weights of the frames in the loss.
    """

    atoms: Int64[np.ndarray, " F"]
    energies: Float64[np.ndarray, " F"]
    force_squares: Float64[np.ndarray, " F"]
    largest_forces: Float64[np.ndarray, " F"]
    periodic: Bool[np.ndarray, " F"]
    stressed: Bool[np.ndarray, " F"]
    kinds: Int64[np.ndarray, " F"]
    elements: UInt8[np.ndarray, " K"]
    counts: Int32[np.ndarray, " K"]
    digests: UInt8[np.ndarray, "F 16"]
    weights: Float64[np.ndarray, " F"]

    def __len__(self) -> int:
        return len(self.atoms)

    @classmethod
    def of(cls, structures: Sequence[Structure], weight: float = 1.0) -> Self:
        """Compute the facts of structures that have the same weight."""
        with np.errstate(over="ignore"):
            squares = [
                np.array([np.nan]) if s.forces is None else (s.forces**2).sum(axis=1) for s in structures
            ]
        compositions = [np.unique(s.numbers, return_counts=True) for s in structures]
        digests = [np.frombuffer(digest(s), dtype=np.uint8) for s in structures]
        return cls(
            atoms=np.array([len(s) for s in structures], dtype=np.int64),
            energies=np.array(
                [np.nan if s.energy is None else s.energy for s in structures], dtype=np.float64
            ),
            force_squares=np.array([q.sum() for q in squares], dtype=np.float64),
            largest_forces=np.sqrt(np.array([q.max(initial=0.0) for q in squares], dtype=np.float64)),
            periodic=np.array([s.pbc.all() for s in structures], dtype=np.bool_),
            stressed=np.array([s.stress is not None for s in structures], dtype=np.bool_),
            kinds=np.array([len(numbers) for numbers, _ in compositions], dtype=np.int64),
            elements=_joined([numbers for numbers, _ in compositions]).astype(np.uint8),
            counts=_joined([counts for _, counts in compositions]).astype(np.int32),
            digests=_joined(digests).astype(np.uint8).reshape(-1, DIGEST_BYTES),
            weights=np.full(len(structures), weight, dtype=np.float64),
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Join the facts of several parts."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            **{
                field.name: np.concatenate([getattr(part, field.name) for part in parts])
                for field in fields(cls)
            }
        )

    def take(self, indices: Int64[np.ndarray, " T"]) -> "Facts":
        """Return the facts of some frames, in the given order, possibly repeated."""
        kinds = self.kinds[indices]
        starts = np.repeat(self.starts[indices], kinds)
        place = starts + np.arange(int(kinds.sum())) - np.repeat(_starts_of(kinds), kinds)
        ragged = {"elements": self.elements[place], "counts": self.counts[place]}
        flat = {f.name: getattr(self, f.name)[indices] for f in fields(self) if f.name not in ragged}
        return Facts(**flat, **ragged)

    @cached_property
    def starts(self) -> Int64[np.ndarray, " F"]:
        """Index at which the `elements` and `counts` of each frame begin."""
        return _starts_of(self.kinds)

    @property
    def labelled(self) -> Bool[np.ndarray, " F"]:
        """Whether each frame has forces."""
        known: np.ndarray = np.isfinite(self.force_squares)
        return known

    def has(self, target: Target) -> Bool[np.ndarray, " F"]:
        """Return which frames have a label of the target."""
        known: dict[str, np.ndarray] = {
            "energy": np.isfinite(self.energies),
            "forces": self.labelled,
            "stress": self.stressed,
        }
        return known[target.name]

    def label_count(self, target: Target) -> int:
        """Return the number of labels of the target: of atoms or of structures, whichever it belongs to."""
        has = self.has(target)
        return int(self.atoms[has].sum() if target.of_atoms else has.sum())

    def elements_seen(self) -> list[int]:
        """Return the atomic numbers that occur, ascending."""
        seen: list[int] = np.flatnonzero(np.bincount(self.elements, minlength=_ELEMENTS)).tolist()
        return seen

    def frames_with(self) -> dict[int, int]:
        """Return the number of frames in which each element occurs."""
        frames = np.bincount(self.elements, minlength=_ELEMENTS)
        return {z: int(frames[z]) for z in self.elements_seen()}

    def within(self, elements: Iterable[int]) -> Bool[np.ndarray, " F"]:
        """Return whether each frame consists only of these elements."""
        foreign = np.ones(_ELEMENTS, dtype=np.int64)
        foreign[[z for z in elements if z < _ELEMENTS]] = 0
        passed = np.concatenate([[0], np.cumsum(foreign[self.elements])])
        inside: np.ndarray = passed[self.starts + self.kinds] == passed[self.starts]
        return inside

    def compositions(
        self, elements: Sequence[int], chunk: int = 8192
    ) -> Iterator[tuple[slice, Float64[np.ndarray, "F Z"]]]:
        """Iterate over tables of the numbers of atoms of each element, `chunk` frames at a time."""
        column = np.zeros(_ELEMENTS, dtype=np.int64)
        column[list(elements)] = np.arange(len(elements))
        for first in range(0, len(self), chunk):
            rows = slice(first, min(first + chunk, len(self)))
            kinds = self.kinds[rows]
            place = slice(int(self.starts[first]), int(self.starts[first] + kinds.sum()))
            table = np.zeros((len(kinds), len(elements)))
            table[np.repeat(np.arange(len(kinds)), kinds), column[self.elements[place]]] = self.counts[place]
            yield rows, table


def digest(structure: Structure) -> bytes:
    """Return a hash (16 bytes) of geometry and labels; every bit counts."""
    made = hashlib.blake2b(digest_size=DIGEST_BYTES)
    s = structure
    for array in (s.numbers, s.positions, s.cell, s.pbc, *(target.of(s) for target in TARGETS)):
        made.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
    return made.digest()


def _starts_of(kinds: Int64[np.ndarray, " F"]) -> Int64[np.ndarray, " F"]:
    starts: np.ndarray = np.cumsum(kinds) - kinds
    return starts


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.zeros(0)


class Frames(Sequence[Structure]):
    """A sequence of structures, with the facts of all of them.

    A structure is made when it is asked for. Quantities of the whole set (sizes, elements, references, scale) are
    computed from the facts, so that the frames need not fit in memory.
    """

    @property
    @abstractmethod
    def facts(self) -> Facts:
        """Facts of all frames, in order."""

    @abstractmethod
    def structure(self, index: int) -> Structure:
        """Return a structure, 0 ≤ index < len."""

    def __len__(self) -> int:
        return len(self.facts)

    @overload
    def __getitem__(self, index: int) -> Structure: ...
    @overload
    def __getitem__(self, index: slice) -> "Frames": ...
    def __getitem__(self, index: int | slice) -> "Structure | Frames":
        if isinstance(index, slice):
            return Subset(self, np.arange(len(self), dtype=np.int64)[index])
        if not -len(self) <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        return self.structure(int(index) % len(self))

    @property
    def atoms(self) -> Int64[np.ndarray, " F"]:
        """Number of atoms of each frame."""
        return self.facts.atoms

    @property
    def energies(self) -> Float64[np.ndarray, " F"]:
        """Energy of each frame in eV; NaN if there is none."""
        return self.facts.energies


class FrameList(Frames):
    """Structures in memory, all with the same weight in the loss."""

    def __init__(self, structures: Sequence[Structure], weight: float = 1.0) -> None:
        self.structures = structures
        self.weight = weight

    def __len__(self) -> int:
        return len(self.structures)

    @cached_property
    def facts(self) -> Facts:
        """Facts of the structures, computed on first use."""
        return Facts.of(self.structures, self.weight)

    def structure(self, index: int) -> Structure:
        """Return the structure itself."""
        return self.structures[index]


class Subset(Frames):
    """Some frames of another sequence, in any order, possibly repeated."""

    def __init__(self, frames: Frames, indices: Int64[np.ndarray, " T"]) -> None:
        self.frames = frames
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    @cached_property
    def facts(self) -> Facts:
        """Facts of the chosen frames, taken on first use."""
        return self.frames.facts.take(self.indices)

    def structure(self, index: int) -> Structure:
        """Return a structure of the other sequence."""
        return self.frames.structure(int(self.indices[index]))


class Mixture(Frames):
    """The frames of several sequences, one after another."""

    def __init__(self, parts: Sequence[Frames]) -> None:
        self.parts = parts
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @cached_property
    def facts(self) -> Facts:
        """Facts of all parts, joined on first use."""
        return Facts.joined([part.facts for part in self.parts]) if self.parts else Facts.of([])

    def structure(self, index: int) -> Structure:
        """Return a structure of the part that it belongs to."""
        part = int(np.searchsorted(self._ends, index, side="right"))
        return self.parts[part].structure(index - int(self._ends[part]) + len(self.parts[part]))


def as_frames(structures: Sequence[Structure]) -> Frames:
    """Return the frames themselves, or wrap a list of structures."""
    return structures if isinstance(structures, Frames) else FrameList(structures)
