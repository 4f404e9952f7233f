"""Which files, which frames, under which names: from `data:` of a recipe to structures."""

import glob
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol, Self

from esen.data.readers.extxyz import read_extxyz
from esen.data.readers.frame import Frame
from esen.data.readers.labels import stress_candidates, to_structure
from esen.data.stress import StressConvention
from esen.data.structure import Structure
from esen.errors import InputError

_SLICE = re.compile(r"\s*(-?\d+)?\s*:\s*(-?\d+)?\s*(?::\s*(-?[1-9]\d*)?\s*)?")
_SUFFIXES = tuple(kind + packing for kind in (".xyz", ".extxyz") for packing in ("", ".gz", ".bz2", ".xz"))

_log = logging.getLogger(__name__)


class Source(Protocol):
    """What is asked of a recipe's `SourceSpec`."""

    @property
    def path(self) -> str:
        """A file, a folder or a glob pattern."""

    @property
    def format(self) -> str:
        """The format of all its files."""

    @property
    def frames(self) -> str:
        """Which frames of each file, as a Python slice."""


class LabelKeys(Protocol):
    """What is asked of a recipe's `DataSpec`."""

    @property
    def energy_key(self) -> str:
        """Name of the energy in the file."""

    @property
    def forces_key(self) -> str:
        """Name of the forces."""

    @property
    def stress_key(self) -> str:
        """Name of the stress."""

    @property
    def stress_convention(self) -> StressConvention:
        """Its unit and sign."""


@dataclass(frozen=True)
class Reading:
    """Under which names a file keeps its labels, and what its stress is (see docs/formats.md)."""

    energy_key: str = "energy"
    forces_key: str = "forces"
    stress_key: str = "stress"
    stress_convention: StressConvention = "ase"

    @classmethod
    def of(cls, spec: LabelKeys) -> Self:
        """As the recipe's `data:` says."""
        return cls(**{field.name: getattr(spec, field.name) for field in fields(cls)})


def read_structures(
    sources: Sequence[Source], reading: Reading | None = None, folder: Path | None = None
) -> list[Structure]:
    """All labelled structures of the sources, in order; files of a folder or pattern by their names.

    Args:
        sources: where to look.
        reading: names of the labels; the usual ones if not given.
        folder: where relative paths start; the working directory if not given.

    Raises:
        InputError: nothing to read, a file or frame that cannot be read, energy or forces missing, or no
            periodic frame with a stress under the given key, if that is not `stress`.
    """
    reading = reading or Reading()
    frames = [frame for source in sources for frame in _frames(source, folder or Path())]
    _check_stress_key([frame for frame in frames if frame.pbc.all()], reading)
    return [
        to_structure(
            frame,
            energy_key=reading.energy_key,
            forces_key=reading.forces_key,
            stress_key=reading.stress_key,
            stress_convention=reading.stress_convention,
        )
        for frame in frames
    ]


def _frames(source: Source, folder: Path) -> list[Frame]:
    if source.format != "extxyz":
        raise InputError(f"{source.path}: format is {source.format!r}, expected extxyz")
    selection = parse_slice(source.frames)
    frames = [frame for path in find_files(source.path, folder) for frame in read_extxyz(path, selection)]
    if not frames:
        raise InputError(f"{source.path}: frames {source.frames!r} selects nothing")
    return frames


def parse_slice(text: str) -> slice:
    """A Python slice from its text.

    Raises:
        InputError: it is not one.

    >>> parse_slice("0:250"), parse_slice("::10")
    (slice(0, 250, None), slice(None, None, 10))
    """
    match = _SLICE.fullmatch(text)
    if match is None:
        raise InputError(
            f"frames: {text!r} is not a Python slice; write e.g. '0:250', '::10', or '7:8' for one frame"
        )
    return slice(*(int(part) if part else None for part in match.groups()))


def find_files(pattern: str, folder: Path) -> list[Path]:
    """The files that a path names: itself, what lies in the folder at any depth, or what the pattern matches.

    Raises:
        InputError: there is none.
    """
    path = folder / Path(pattern).expanduser()
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.name.endswith(_SUFFIXES) and file.is_file())
        if not found:
            raise InputError(f"{path}: the folder has no file named *.xyz or *.extxyz (.gz, .bz2, .xz)")
        return found
    if path.exists():
        return [path]
    found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207 absolute patterns
    if not any(file.is_file() for file in found):
        raise InputError(f"{path}: no such file, folder or pattern")
    return [file for file in found if file.is_file()]


def _check_stress_key(periodic: Sequence[Frame], reading: Reading) -> None:
    """A stress key that was asked for must exist; a stress under another name is at least told of."""
    if not periodic or any(reading.stress_key in frame.values for frame in periodic):
        return
    candidates = sorted({name for frame in periodic for name in stress_candidates(frame)})
    where, named = periodic[0].source, ", ".join(candidates)
    if reading.stress_key != Reading.stress_key:
        there = f"frames have {named}" if named else "frames have no stress; leave data.stress_key out"
        raise InputError(f"{where}: no stress under {reading.stress_key!r} in any frame; {there}")
    if candidates:
        advice = f"data.stress_key: {candidates[0]}"
        if "virial" in candidates[0].lower():
            advice += " and data.stress_convention: virial"
        _log.warning("%s: no stress under 'stress', so none is used; to use it write %s", where, advice)
