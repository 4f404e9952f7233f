"""What a conversion is asked for, written down, so that it can be gone on with."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esen.data.cache import INDEX, MANIFEST, PLAN, SHARDS, is_esendata, open_shard
from esen.data.readers.reading import Reading, Source
from esen.data.shard import VERSION
from esen.errors import InputError
from esen.files import LOCK, remove_partial_files, write_json

FRAMES_PER_SHARD = 5000

_SAMPLED = 1 << 16
"""Bytes at each end of a source file that its checksum sees."""


@dataclass(frozen=True)
class Settings:
    """What decides the content of the parts; the same for every process.

    Attributes:
        reading: names of the labels.
        edges_cutoff: if given, edges up to so many Å are counted.
        frames_per_shard: frames in a part.
    """

    reading: Reading
    edges_cutoff: float | None = None
    frames_per_shard: int = FRAMES_PER_SHARD


def make_plan(
    sources: Sequence[Source], files: Sequence[tuple[Path, str]], settings: Settings
) -> dict[str, Any]:
    """All that decides the content of the set. A source that has changed since makes another plan."""
    reading = settings.reading
    return {
        "format": "esendata",
        "version": VERSION,
        "sources": [{"path": s.path, "format": s.format, "frames": s.frames} for s in sources],
        "files": [_identity(path, kind) for path, kind in files],
        "keys": {"energy": reading.energy_key, "forces": reading.forces_key, "stress": reading.stress_key},
        "stress_convention": reading.stress_convention,
        "edges_cutoff": settings.edges_cutoff,
        "frames_per_shard": settings.frames_per_shard,
    }


def _identity(path: Path, kind: str) -> dict[str, Any]:
    try:
        state = path.stat()
        with path.open("rb") as file:
            sample = file.read(_SAMPLED)
            file.seek(max(state.st_size - _SAMPLED, 0))
            sample += file.read(_SAMPLED)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    checksum = hashlib.blake2b(sample, digest_size=16).hexdigest()
    return {
        "path": str(path),
        "format": kind,
        "bytes": state.st_size,
        "modified_ns": state.st_mtime_ns,
        "blake2b_of_both_ends": checksum,
    }


def prepare(output: Path, plan: dict[str, Any], resume: bool) -> None:
    """Make the folder, or see that it is this conversion that was begun there."""
    if output.exists() and not is_esendata(output):
        if not output.is_dir() or any(path.name != LOCK for path in output.iterdir()):
            raise InputError(f"{output}: is there and is no training set; give another name")
    elif output.exists() and not resume:
        _clear(output)
    elif output.exists():
        try:
            begun = json.loads((output / PLAN).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            begun = {}
        changed = [key for key in plan if begun.get(key) != plan[key]]
        if changed:
            raise InputError(
                f"{output}: holds another conversion (other {', '.join(changed)});"
                " give another name, or --restart to begin anew"
            )
        return
    write_json(output / PLAN, plan)


def _clear(output: Path) -> None:
    (output / MANIFEST).unlink(missing_ok=True)
    for folder in (SHARDS, INDEX):
        for path in (output / folder).glob("*"):
            path.unlink()


def finished_parts(output: Path) -> dict[int, int]:
    """The parts that are there, and how many frames they have; what was being written when it was stopped goes."""
    remove_partial_files(output)
    shards = sorted((output / SHARDS).glob("*.arrow"))
    return {int(path.stem): len(open_shard(path)) for path in shards}
