"""What a trajectory leaves on disk: energies as CSV, frames as extended XYZ or ASE's own, each row as it comes.

Every file can be cut back to where a saved state stood, so that a run which is resumed leaves the same bytes as one
that was never interrupted.
"""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

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
COLUMNS = ("step", "time_ps", "total_eV", "potential_eV", "kinetic_eV", "temperature_K")


@runtime_checkable
class Appended(Protocol):
    """A file that grows, and can be cut back."""

    def mark(self) -> int:
        """Where it ends; what came before is on disk."""

    def cut(self, mark: int) -> None:
        """Forget what came after the mark. Raises `InputError` if the file ends before it."""


class TextFile:
    """Text that grows.

    Args:
        path: of the file, made anew with `head` if `fresh`.
        head: its first line.
        fresh: whether what is there is overwritten.
    """

    def __init__(self, path: Path, head: str = "", *, fresh: bool) -> None:
        self.path = path
        if fresh:
            write_atomically(path, head.encode())

    def append(self, text: str) -> None:
        """Write text at the end.

        Raises:
            OSError: the disk is full.
        """
        with naming(self.path), self.path.open("ab") as file:
            file.write(text.encode())

    def mark(self) -> int:
        """See `Appended`."""
        with naming(self.path), self.path.open("ab") as file:
            os.fsync(file.fileno())
        return self.path.stat().st_size

    def cut(self, mark: int) -> None:
        """See `Appended`."""
        if not self.path.is_file() or self.path.stat().st_size < mark:
            raise InputError(f"{self.path}: shorter than when the run was saved; begin anew without --resume")
        os.truncate(self.path, mark)


class AseFile:
    """Frames in ASE's own format. Arguments as of `TextFile`."""

    def __init__(self, path: Path, *, fresh: bool) -> None:
        self.path = path
        if fresh:
            path.unlink(missing_ok=True)

    def append(self, atoms: Atoms) -> None:
        """Write a frame at the end."""
        with naming(self.path), Trajectory(self.path, "a") as file:
            file.write(atoms)

    def mark(self) -> int:
        """See `Appended`: the number of frames.

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

    def cut(self, mark: int) -> None:
        """See `Appended`."""
        if self.mark() < mark:
            raise InputError(f"{self.path}: shorter than when the run was saved; begin anew without --resume")
        if not self.path.exists():
            return
        with (
            replacing(self.path) as kept,
            Trajectory(self.path) as before,
            Trajectory(kept, "w") as after,
        ):
            for number in range(mark):
                after.write(before[number])


class SystemFiles:
    """The energies of one system, and its frames if they are asked for.

    Args:
        stem: of the files, without a suffix; its folder is there.
        trajectory: format of the frames; None: they are not kept.
        fresh: whether what is there is overwritten.
    """

    def __init__(self, stem: Path, trajectory: TrajectoryFormat | None, *, fresh: bool) -> None:
        self.energies = TextFile(stem.with_name(stem.name + ".csv"), ",".join(COLUMNS) + "\n", fresh=fresh)
        self.frames: TextFile | AseFile | None = None
        if trajectory == "extxyz":
            self.frames = TextFile(stem.with_name(stem.name + ".extxyz"), fresh=fresh)
        elif trajectory == "traj":
            self.frames = AseFile(stem.with_name(stem.name + ".traj"), fresh=fresh)

    def write_rows(self, rows: Sequence[tuple[float, ...]]) -> None:
        """Rows of `COLUMNS`, each number so that it is read as the same one."""
        self.energies.append("".join(",".join(map(repr, row)) + "\n" for row in rows))

    def write_frame(self, atoms: Atoms) -> None:
        """A frame with positions, momenta, forces and energy."""
        if isinstance(self.frames, TextFile):
            text = io.StringIO()
            ase.io.write(text, atoms, format="extxyz")
            self.frames.append(text.getvalue())
        elif self.frames is not None:
            self.frames.append(atoms)

    def parts(self) -> list[Appended]:
        """The files that there are."""
        return [self.energies] if self.frames is None else [self.energies, self.frames]


def frame_of(start: Start, snapshot: Snapshot, step: int, time_ps: float) -> Atoms:
    """A snapshot as ASE's atoms, with what was computed of them."""
    structure = start.structure
    atoms = Atoms(structure.numbers, snapshot.positions, cell=structure.cell, pbc=structure.pbc)
    atoms.set_masses(start.masses)
    atoms.set_momenta(snapshot.momenta)
    atoms.info.update(step=step, time_ps=time_ps)
    atoms.calc = SinglePointCalculator(atoms, energy=snapshot.energy, forces=snapshot.forces)
    return atoms


def read_series(path: Path, atoms: int) -> Series:
    """The energies that were written.

    Raises:
        InputError: the file is not there, or not as this module writes it.
    """
    try:
        with path.open(newline="") as file:
            reader = csv.reader(file)
            head = next(reader, [])
            table = np.fromiter((float(value) for row in reader for value in row), np.float64)
        table = table.reshape(-1, len(COLUMNS))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as energies of a trajectory ({error})") from error
    if tuple(head) != COLUMNS:
        raise InputError(f"{path}: its first line is {','.join(head)!r}, expected {','.join(COLUMNS)!r}")
    return Series(table[:, 0], table[:, 1], table[:, 3], table[:, 4], atoms)
