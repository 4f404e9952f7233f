"""Sequences of structures behind one interface, in memory or in a memory-mapped file."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import overload

import numpy as np
from jaxtyping import Float64, Int64

from esen.data.facts import Facts
from esen.data.structure import Structure


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
