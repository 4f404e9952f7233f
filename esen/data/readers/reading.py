"""Which files, which frames, under which names: from `data:` of a recipe to structures."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from esen.data.cache import MappedFrames
from esen.data.frames import FrameList, Frames, Mixture, Subset
from esen.data.readers.formats import ESENDATA, FORMATS, find_files
from esen.data.readers.frame import Frame, Record
from esen.data.readers.labels import NO_LABEL, stress_candidates, to_structure
from esen.data.readers.select import parse_slice, select
from esen.data.stress import StressConvention
from esen.data.structure import Structure
from esen.errors import InputError

__all__ = [
    "Files",
    "Reading",
    "StressWatch",
    "load_frames",
    "parse_slice",
    "read_structures",
    "source_records",
]

_log = logging.getLogger(__name__)


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


class Source(Protocol):
    """What is asked of a recipe's `SourceSpec`."""

    @property
    def path(self) -> str:
        """A file, a folder or a glob pattern."""

    @property
    def format(self) -> str:
        """The format of all its files, or `auto`."""

    @property
    def frames(self) -> str:
        """Which frames of each file, as a Python slice."""

    @property
    def repeat(self) -> int:
        """How often an epoch sees its frames."""

    @property
    def weight(self) -> float:
        """Of its frames in the loss."""

    @property
    def energy_key(self) -> str | None:
        """Name of the energy in its files; None: as for all sources."""

    @property
    def forces_key(self) -> str | None:
        """Name of the forces; None: as for all sources."""

    @property
    def stress_key(self) -> str | None:
        """Name of the stress; None: as for all sources."""

    @property
    def stress_convention(self) -> StressConvention | None:
        """Unit and sign of the stress; None: as for all sources."""


@dataclass(frozen=True)
class Files:
    """A `Source` that is no part of a recipe."""

    path: str
    format: str = "auto"
    frames: str = ":"
    repeat: int = 1
    weight: float = 1.0
    energy_key: str | None = None
    forces_key: str | None = None
    stress_key: str | None = None
    stress_convention: StressConvention | None = None


@dataclass(frozen=True)
class Reading:
    """Under which names a file keeps its labels, and what its stress is (see docs/formats.md)."""

    energy_key: str = "energy"
    forces_key: str = "forces"
    stress_key: str = "stress"
    stress_convention: StressConvention = "ase"
    required: tuple[str, ...] = field(default=("energy", "forces"), kw_only=True)
    """Labels without which a frame is refused."""

    @classmethod
    def of(cls, spec: LabelKeys) -> Self:
        """As the recipe's `data:` says."""
        return cls(**{name: getattr(spec, name) for name in _NAMES})

    def of_source(self, source: Source) -> Self:
        """With what a source says of its own files."""
        own = {name: getattr(source, name) for name in _NAMES if getattr(source, name) is not None}
        return replace(self, **own)

    def structure(self, frame: Frame) -> Structure:
        """The labelled structure of a frame; `to_structure` says what is refused."""
        return to_structure(frame, **{f.name: getattr(self, f.name) for f in fields(self)})


_NAMES = ("energy_key", "forces_key", "stress_key", "stress_convention")


def read_structures(
    sources: Sequence[Source], reading: Reading | None = None, folder: Path | None = None
) -> list[Structure]:
    """All labelled structures of the sources, in order; files of a folder or pattern by their names.

    Args:
        sources: where to look. Their repeats and weights are not considered.
        reading: names of the labels; the usual ones if not given.
        folder: where relative paths start; the working directory if not given.

    Raises:
        InputError: nothing to read, a file or frame that cannot be read, energy or forces missing, or no
            periodic frame with a stress under the given key, if that is not `stress`.
    """
    return [structure for frames in load_frames(sources, reading, folder) for structure in frames]


def load_frames(
    sources: Sequence[Source], reading: Reading | None = None, folder: Path | None = None
) -> list[Frames]:
    """The frames of each source; those of a training set (`esendata`) stay in their file. As `read_structures`."""
    reading, folder = reading or Reading(), folder or Path()
    watches: dict[Reading, StressWatch] = {}
    loaded = []
    for source in sources:
        own = reading.of_source(source)
        parts = _load(source, own, folder, watches.setdefault(own, StressWatch(own)))
        if not parts:
            raise InputError(f"{source.path}: frames {source.frames!r} selects nothing")
        loaded.append(parts[0] if len(parts) == 1 else Mixture(parts))
    for watch in watches.values():
        watch.finish()
    return loaded


def _load(source: Source, reading: Reading, folder: Path, watch: "StressWatch") -> list[Frames]:
    parts: list[Frames] = []
    structures: list[Structure] = []
    for path, kind in _files(source, folder):
        if kind == ESENDATA:
            mapped = MappedFrames(path, source.weight)
            chosen = np.arange(len(mapped), dtype=np.int64)[parse_slice(source.frames)]
            parts.append(mapped if len(chosen) == len(mapped) else Subset(mapped, chosen))
            continue
        parse = FORMATS[kind].parse
        for record in select(FORMATS[kind].records(path), parse_slice(source.frames)):
            frame = parse(record)
            watch.see(frame)
            structures.append(reading.structure(frame))
    return [part for part in (*parts, FrameList(structures, source.weight)) if len(part)]


def source_files(source: Source, folder: Path) -> list[tuple[Path, str]]:
    """The files of a source that are to be converted, and their formats.

    Raises:
        InputError: there are none, or one is a training set already.
    """
    found = _files(source, folder)
    for path, kind in found:
        if kind == ESENDATA:
            raise InputError(f"{path}: is a training set of esen already; expected files to be converted")
    return found


def source_records(source: Source, folder: Path) -> Iterator[tuple[str, Path, Record]]:
    """The frames of a source as they are found in its files, with format and file.

    Raises:
        InputError: a file cannot be read, or is a training set already.
    """
    selection = parse_slice(source.frames)
    for path, kind in source_files(source, folder):
        for record in select(FORMATS[kind].records(path), selection):
            yield kind, path, record


def _files(source: Source, folder: Path) -> list[tuple[Path, str]]:
    if source.format not in ("auto", ESENDATA, *FORMATS):
        raise InputError(
            f"{source.path}: format is {source.format!r}, expected {', '.join((*FORMATS, ESENDATA))} or auto"
        )
    parse_slice(source.frames)
    found = find_files(source.path, folder, source.format)
    for path, kind in found:
        if kind == ESENDATA:
            MappedFrames.check(path)
    return found


@dataclass
class StressWatch:
    """A stress key that was asked for must exist; a stress under another name is at least told of.

    Attributes:
        reading: names of the labels.
        found: whether a periodic frame had the key.
        candidates: other names under which periodic frames may have a stress.
        first: the source of the first periodic frame.
    """

    reading: Reading
    found: bool = False
    candidates: set[str] = field(default_factory=set)
    first: str = ""

    def see(self, frame: Frame) -> None:
        """Look at one frame."""
        if self.found or not frame.pbc.all():
            return
        self.first = self.first or frame.source
        self.found = self.reading.stress_key in frame.values
        if not self.found:
            self.candidates.update(stress_candidates(frame))

    def join(self, other: "StressWatch | None") -> None:
        """Add what another has seen of later frames."""
        if other is not None:
            self.found = self.found or other.found
            self.candidates |= other.candidates
            self.first = self.first or other.first

    def finish(self) -> None:
        """After all frames.

        Raises:
            InputError: the stress was asked for by a name of its own, and no periodic frame had it.
        """
        if self.found or not self.first or self.reading.stress_key == NO_LABEL:
            return
        candidates = sorted(self.candidates)
        named = ", ".join(candidates)
        if self.reading.stress_key != Reading.stress_key:
            there = f"frames have {named}" if named else "frames have no stress; leave data.stress_key out"
            raise InputError(
                f"{self.first}: no stress under {self.reading.stress_key!r} in any frame; {there}"
            )
        if candidates:
            advice = f"data.stress_key: {candidates[0]}"
            if "virial" in candidates[0].lower():
                advice += " and data.stress_convention: virial"
            _log.warning(
                "%s: no stress under 'stress', so none is used; to use it write %s", self.first, advice
            )
