"""From the sources of a recipe's `data:` to labelled structures: which files, which frames, and the names of labels."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from esen.data.frames import FrameList, Frames, Mixture, Subset
from esen.data.readers.formats import ESENDATA, FORMATS, find_files
from esen.data.readers.frame import RawFrame, parse_slice, select
from esen.data.readers.labels import NO_LABEL, Reading, name_in, stress_candidates
from esen.data.stress import StressConvention
from esen.data.structure import Structure
from esen.data.training_set import MappedFrames
from esen.errors import InputError

_log = logging.getLogger(__name__)


class Source(Protocol):
    """The fields of a recipe's `SourceSpec` that are used here. Keys that are None are as for all sources."""

    @property
    def path(self) -> str:
        """A file, a folder or a glob pattern."""

    @property
    def format(self) -> str:
        """Format of all its files, or `auto`."""

    @property
    def frames(self) -> str:
        """Frames of each file, as a Python slice."""

    @property
    def repeat(self) -> int:
        """Number of times that an epoch uses its frames."""

    @property
    def weight(self) -> float:
        """Weight of its frames in the loss."""

    @property
    def energy_key(self) -> str | None:
        """Name of the energy in its files."""

    @property
    def forces_key(self) -> str | None:
        """Name of the forces."""

    @property
    def stress_key(self) -> str | None:
        """Name of the stress."""

    @property
    def stress_convention(self) -> StressConvention | None:
        """Unit and sign of the stress."""


@dataclass(frozen=True)
class Files:
    """A `Source` that does not come from a recipe."""

    path: str
    format: str = "auto"
    frames: str = ":"
    repeat: int = 1
    weight: float = 1.0
    energy_key: str | None = None
    forces_key: str | None = None
    stress_key: str | None = None
    stress_convention: StressConvention | None = None


def load_structures(
    sources: Sequence[Source], reading: Reading | None = None, folder: Path | None = None
) -> list[Structure]:
    """Return all labelled structures of the sources, in order; files of a folder or pattern by name.

    Args:
        sources: their repeats and weights are not considered.
        reading: names of the labels; the usual ones if not given.
        folder: start of relative paths; the working directory if not given.

    Raises:
        InputError: there is nothing to read, a file or frame cannot be read, a required label is missing, or no
            periodic frame has a stress under the given key, if that is not `stress`.
    """
    return [structure for frames in load_frames(sources, reading, folder) for structure in frames]


def load_frames(
    sources: Sequence[Source], reading: Reading | None = None, folder: Path | None = None
) -> list[Frames]:
    """Return the frames of each source; those of a training set (`esendata`) stay in their files.

    Arguments and errors are those of `load_structures`.
    """
    reading, folder = reading or Reading(), folder or Path()
    watches: dict[Reading, StressWatch] = {}
    loaded = []
    for source in sources:
        own = reading.of_source(source)
        parts = _load(source, folder, watches.setdefault(own, StressWatch(own)))
        if not parts:
            raise InputError(f"{source.path}: frames {source.frames!r} selects nothing")
        loaded.append(parts[0] if len(parts) == 1 else Mixture(parts))
    for watch in watches.values():
        watch.finish()
    return loaded


def _load(source: Source, folder: Path, watch: "StressWatch") -> list[Frames]:
    parts: list[Frames] = []
    structures: list[Structure] = []
    selection = parse_slice(source.frames)
    for path, kind in _files(source, folder):
        if kind == ESENDATA:
            mapped = MappedFrames(path, source.weight)
            chosen = np.arange(len(mapped), dtype=np.int64)[selection]
            parts.append(mapped if len(chosen) == len(mapped) else Subset(mapped, chosen))
        else:
            structures += (watch.structure(raw) for raw in select(FORMATS[kind].frames(path), selection))
    return [part for part in (*parts, FrameList(structures, source.weight)) if len(part)]


def states_units(source: Source, folder: Path) -> bool:
    """Whether the formats of all files of a source fix unit and sign of the stress, as those of VASP do."""
    return not {kind for _, kind in _files(source, folder)} & {ESENDATA, "extxyz", "extxyz_zip"}


def source_files(source: Source, folder: Path) -> list[tuple[Path, str]]:
    """Return the files of a source that can be converted, with their formats.

    Raises:
        InputError: there are none, or one is a training set already.
    """
    found = _files(source, folder)
    for path, kind in found:
        if kind == ESENDATA:
            raise InputError(f"{path}: is a training set of esen already; expected files to be converted")
    return found


def source_frames(source: Source, folder: Path) -> Iterator[tuple[Path, RawFrame]]:
    """Iterate over the selected frames of a source before they are parsed, each with its file.

    Raises:
        InputError: a file cannot be read, or is a training set already.
    """
    selection = parse_slice(source.frames)
    for path, kind in source_files(source, folder):
        for raw in select(FORMATS[kind].frames(path), selection):
            yield path, raw


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
    """Watches all frames for the stress: a key that was asked for must exist; other names are reported.

    Attributes:
        reading: names of the labels.
        found: whether a periodic frame had the key.
        candidates: other names under which periodic frames may have a stress.
        first: source of the first periodic frame.
    """

    reading: Reading
    found: bool = False
    candidates: set[str] = field(default_factory=set)
    first: str = ""

    def structure(self, raw: RawFrame) -> Structure:
        """Return the labelled structure of a frame, and note whether it has the stress."""
        frame = raw.structure()
        if not self.found and frame.pbc.all():
            self.first = self.first or frame.source
            self.found = name_in(frame.info, self.reading.stress_key) is not None
            self.candidates.update(() if self.found else stress_candidates(frame))
        return self.reading.labelled(frame, fixed_units=raw.fixed_units)

    def join(self, other: "StressWatch | None") -> None:
        """Add what another one found in later frames."""
        if other is not None:
            self.found = self.found or other.found
            self.candidates |= other.candidates
            self.first = self.first or other.first

    def finish(self) -> None:
        """Report a missing stress after all frames.

        Raises:
            InputError: the stress was asked for by a name of its own, and no periodic frame has it.
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
