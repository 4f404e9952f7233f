"""What moves systems at constant energy: its parts, and what it must do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from ase import units
from jaxtyping import Float64, Int64
from torch import Tensor

from esen.data.structure import Structure
from esen.errors import InputError, first_line, typed_line

HOTTEST = 1e5
"""K. A system this hot has exploded, whatever its potential is of."""

FARTHEST = 100.0
"""Å. A system of which an atom moves further in one step has exploded, too: no neighbours are searched out there."""

TOO_HOT = f"it is hotter than {HOTTEST:,.0f} K"
TOO_FAR = f"an atom moves by more than {FARTHEST:g} Å in one step"
NOT_FINITE = "its energy or forces are not finite"

Arrays = dict[str, np.ndarray]
Numbers = TypeVar("Numbers", float, Tensor)


@dataclass(frozen=True, eq=False)
class Start:
    """A system at the beginning.

    Attributes:
        structure: species, cell and positions.
        masses: in amu.
        momenta: in amu · Å per ASE's unit of time.
    """

    structure: Structure
    masses: Float64[np.ndarray, " N"]
    momenta: Float64[np.ndarray, "N 3"]


@dataclass(frozen=True)
class Failure:
    """Why a system was stopped.

    Attributes:
        step: the first whose forces or energy are not finite, that the potential refuses, to which an atom moves too
            far, or that is found too hot.
        reason: in words.
    """

    step: int
    reason: str


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One system at one step.

    Attributes:
        positions: in Å, unwrapped.
        momenta: in amu · Å per ASE's unit of time.
        forces: in eV/Å.
        energy: potential energy in eV.
    """

    positions: Float64[np.ndarray, "N 3"]
    momenta: Float64[np.ndarray, "N 3"]
    forces: Float64[np.ndarray, "N 3"]
    energy: float


@runtime_checkable
class Engine(Protocol):
    """Moves systems on.

    Attributes:
        step: how many have been made.
        failures: of the systems that were stopped, by their number.
    """

    step: int
    failures: dict[int, Failure]

    @property
    def live(self) -> Sequence[int]:
        """Numbers of the systems that still move."""

    def advance(self, steps: int = 1) -> None:
        """Make steps. A system that cannot go on is stopped, and the others are as if it had never been there."""

    def observe(self) -> tuple[Tensor, Tensor]:
        """Potential and kinetic energy of the live systems in eV, (live,) float64; stops those that are too hot."""

    def snapshot(self, system: int) -> Snapshot:
        """A live system as it is."""

    def save(self) -> Arrays:
        """All that `restore` needs to go on with the same bits."""

    def restore(self, arrays: Arrays) -> None:
        """Go on from there. The engine was made of the same starts."""


def saved_failures(step: int, live: Sequence[int], failures: dict[int, Failure]) -> Arrays:
    """How far an engine is, as arrays."""
    table = [(system, failure.step) for system, failure in failures.items()]
    return {
        "step": np.array(step),
        "live": np.array(live, dtype=np.int64),
        "failed": np.array(table, dtype=np.int64).reshape(-1, 2),
        "reasons": np.array([failure.reason for failure in failures.values()], dtype=np.str_),
    }


def restored_failures(arrays: Arrays) -> tuple[int, list[int], dict[int, Failure]]:
    """What `saved_failures` was given."""
    table: Int64[np.ndarray, "failures 2"] = arrays["failed"]
    failures = {
        int(system): Failure(int(step), str(reason))
        for (system, step), reason in zip(table, arrays["reasons"], strict=True)
    }
    return int(arrays["step"]), [int(system) for system in arrays["live"]], failures


def hottest_kinetic(atoms: Numbers) -> Numbers:
    """The kinetic energy in eV of so many atoms at the temperature at which they have exploded."""
    each = 1.5 * float(units.kB) * HOTTEST
    return each * atoms


def refused(error: Exception) -> str:
    """What a potential says of a system that it does not compute, in a line."""
    return first_line(error) if isinstance(error, InputError) else f"the potential raised {typed_line(error)}"


def starts_together(starts: Sequence[Start], atoms: int) -> list[list[int]]:
    """Numbers of the systems of each batch: of at most so many atoms, but at least one system."""
    groups: list[list[int]] = []
    room = 0
    for number, start in enumerate(starts):
        if not groups or len(start.structure) > room:
            groups.append([])
            room = atoms
        groups[-1].append(number)
        room -= len(start.structure)
    return groups
