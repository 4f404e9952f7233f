"""Files of a trajectory: energies as CSV, frames as extended XYZ or in ASE's format, written while it is computed.

Every file can be truncated to the length that it had when the state of the run was saved, so that a resumed run leaves
the same bytes as one that was never interrupted.
"""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.trajectory import Trajectory
from ase.io.ulm import InvalidULMFileError

from esen.errors import InputError
from esen.files import naming, replacing, write_atomically
from esen.md.drift import Series
from esen.md.engine import Snapshot, Start

TrajectoryFormat = Literal["extxyz", "traj"]
OLD_COLUMNS = ("step", "time_ps", "total_eV", "potential_eV", "kinetic_eV", "temperature_K")
"""Columns of the energies that earlier versions recorded. A run that they began is continued with these."""
COLUMNS = (*OLD_COLUMNS, "shadow_eV", "angular_change_hbar")


class GrowingText:
    """A text file that grows.

    Args:
        path: of the file.
        head: first line of a new file.
        fresh: whether an existing file is overwritten.
    """

    def __init__(self, path: Path, head: str = "", *, fresh: bool) -> None:
        self.path = path
        if fresh:
            write_atomically(path, head)

    def append(self, text: str) -> None:
        """Append text.

        Raises:
            OSError: the disk is full.
        """
        with naming(self.path), self.path.open("ab") as file:
            file.write(text.encode())

    def length(self) -> int:
        """Flush the file to disk and return its length in bytes."""
        with naming(self.path), self.path.open("ab") as file:
            os.fsync(file.fileno())
        return self.path.stat().st_size

    def truncate(self, length: int) -> None:
        """Truncate the file to an earlier length.

        Raises:
            InputError: the file is shorter.
        """
        if not self.path.is_file() or self.path.stat().st_size < length:
            raise _too_short(self.path)
        os.truncate(self.path, length)


class GrowingFrames:
    """A file of frames in ASE's own format that grows, with the methods of `GrowingText`; its length is in frames."""

    def __init__(self, path: Path, *, fresh: bool) -> None:
        self.path = path
        if fresh:
            path.unlink(missing_ok=True)

    def append(self, atoms: Atoms) -> None:
        """Append a frame."""
        with naming(self.path), Trajectory(self.path, "a") as file:
            file.write(atoms)

    def length(self) -> int:
        """Flush the file to disk and return the number of its frames.

        Raises:
            InputError: the file is damaged.
        """
        if not self.path.exists():
            return 0
        try:
            with naming(self.path), self.path.open("ab") as file:
                os.fsync(file.fileno())
            with Trajectory(self.path) as frames:
                return len(frames)
        except (ValueError, IndexError, InvalidULMFileError) as error:
            raise InputError(f"{self.path}: not a trajectory of ASE ({error}); begin anew") from error

    def truncate(self, length: int) -> None:
        """Keep the first `length` frames.

        Raises:
            InputError: the file has fewer frames.
        """
        if self.length() < length:
            raise _too_short(self.path)
        if not self.path.exists():
            return
        with replacing(self.path) as kept, Trajectory(self.path) as old, Trajectory(kept, "w") as new:
            for number in range(length):
                new.write(old[number])


class SystemFiles:
    """The files of one system: its energies, and its frames if they are wanted.

    Args:
        stem: path of the files without suffix; the folder exists.
        trajectory: format of the frames; None keeps none.
        fresh: whether existing files are overwritten.

    Attributes:
        growing: the files.
    """

    def __init__(self, stem: Path, trajectory: TrajectoryFormat | None, *, fresh: bool) -> None:
        path = stem.with_name(f"{stem.name}.csv")
        self.energies = GrowingText(path, ",".join(COLUMNS) + "\n", fresh=fresh)
        self._columns = len(COLUMNS) if fresh else _column_count(path)
        self.frames: GrowingText | GrowingFrames | None = None
        if trajectory is not None:
            path = stem.with_name(f"{stem.name}.{trajectory}")
            kind = GrowingText if trajectory == "extxyz" else GrowingFrames
            self.frames = kind(path, fresh=fresh)
        self.growing = [file for file in (self.energies, self.frames) if file is not None]

    def write_rows(self, rows: Sequence[tuple[float, ...]]) -> None:
        """Append rows of `COLUMNS`, in full precision; those columns only that the file began with."""
        self.energies.append("".join(",".join(map(repr, row[: self._columns])) + "\n" for row in rows))

    def write_frame(self, atoms: Atoms) -> None:
        """Append a frame with positions, momenta, forces and energy, if frames are wanted."""
        if isinstance(self.frames, GrowingText):
            text = io.StringIO()
            ase.io.write(text, atoms, format="extxyz")
            self.frames.append(text.getvalue())
        elif self.frames is not None:
            self.frames.append(atoms)


def frame_of(start: Start, snapshot: Snapshot, step: int, time_ps: float) -> Atoms:
    """Return a snapshot as ASE's Atoms, with its energy and forces."""
    structure = start.structure
    atoms = Atoms(structure.numbers, snapshot.positions, cell=structure.cell, pbc=structure.pbc)
    atoms.set_constraint(structure.constraints)
    atoms.set_masses(start.masses)
    atoms.set_momenta(snapshot.momenta, apply_constraint=False)
    atoms.info.update(step=step, time_ps=time_ps)
    atoms.calc = SinglePointCalculator(atoms, energy=snapshot.energy, forces=snapshot.forces)
    return atoms


def read_series(path: Path, atoms: int) -> Series:
    """Read the energies of a system.

    Args:
        path: the file that `SystemFiles` wrote.
        atoms: number of atoms of the system.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            head = tuple(next(reader, []))
            if head not in (COLUMNS, OLD_COLUMNS):
                expected = ",".join(COLUMNS)
                raise InputError(f"{path}: its first line is {','.join(head)!r}, expected {expected!r}")
            table = np.fromiter((float(value) for row in reader for value in row), np.float64)
        table = table.reshape(-1, len(head))
        _check_rows(table)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as energies of a trajectory ({error})") from error
    step, time, _, potential, kinetic, _, *invariants = table.T
    return Series(step, time, potential, kinetic, atoms, None, *invariants)


def _column_count(path: Path) -> int:
    """Return the number of columns in the first line of a file of energies, or of a new one if it is missing."""
    if not path.is_file():
        return len(COLUMNS)
    with naming(path), path.open(encoding="utf-8", errors="replace") as file:
        return len(file.readline().split(","))


def _check_rows(table: np.ndarray) -> None:
    """Check what holds in every file as it was written: evenly spaced steps, and total = potential + kinetic energy.

    Raises:
        ValueError: naming the row.
    """
    uneven = np.flatnonzero(np.diff(table[:, 0], n=2))
    sums = table[:, 3] + table[:, 4]
    wrong = np.flatnonzero(~np.isclose(table[:, 2], sums, rtol=1e-9, atol=1e-9, equal_nan=True))
    for rows, what in (
        (uneven + 2, "steps are not evenly spaced"),
        (wrong, "total is not the sum of its parts"),
    ):
        if len(rows):
            raise ValueError(f"row {rows[0] + 1}: the {what}")


def _too_short(path: Path) -> InputError:
    return InputError(f"{path}: shorter than when the run was saved; begin anew without --resume")
