"""Convert files of any format to one memory-mapped training set, in parallel and resumable.

The frames of all sources are one stream, which this process finds and cuts into shards of equal length. Worker
processes parse, check and write a shard under its number, as a whole or not at all. A shard that exists is done.
"""

import hashlib
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from esen import __version__
from esen.data.checks import check_structure
from esen.data.frames import Facts
from esen.data.neighbours import neighbour_list
from esen.data.readers.frame import RawFrame
from esen.data.readers.labels import Reading
from esen.data.readers.sources import Source, StressWatch, source_files, source_frames
from esen.data.targets import TARGETS
from esen.data.training_set import (
    INDEX,
    MANIFEST,
    PLAN,
    SHARDS,
    UNITS,
    VERSION,
    MappedFrames,
    file_checksum,
    holds_frames,
    is_esendata,
    manifest_checksum,
    open_shard,
    shard_bytes,
    shard_name,
)
from esen.errors import InputError
from esen.files import LOCK, end_with_parent, locked, read_json, replacing, write_atomically, write_json

FRAMES_PER_SHARD = 5000
_SAMPLED = 1 << 16
"""Bytes at each end of a source file that its checksum covers."""

Progress = Callable[[float, int], None]
"""Takes the fraction of the input that has been read, 0 to 1, and the number of frames that are converted."""
Converted = tuple[int, StressWatch | None]
"""The number of frames in a shard, and what was seen of their stresses; None for a shard of an earlier run."""


@dataclass(frozen=True)
class Settings:
    """Everything that decides the content of the shards; the same for every process.

    Attributes:
        reading: names of the labels.
        edges_cutoff: if given, edges up to this distance in Å are counted.
        frames_per_shard: number of frames in a shard.
    """

    reading: Reading
    edges_cutoff: float | None = None
    frames_per_shard: int = FRAMES_PER_SHARD


def convert(
    sources: Sequence[Source],
    output: Path,
    settings: Settings,
    *,
    processes: int = 1,
    resume: bool = True,
    progress: Progress = lambda done, frames: None,
) -> MappedFrames:
    """Make a training set of all frames of the sources, or resume a conversion that was stopped.

    Args:
        sources: files, folders, patterns; not training sets.
        output: the folder, which is made if it does not exist. It is locked meanwhile.
        settings: names of labels and other settings that decide the content.
        processes: number of processes that parse and write frames; this process finds them.
        resume: keep the shards of an earlier run of the same conversion; otherwise start over.
        progress: called after each shard.

    Raises:
        InputError: a source cannot be read, a frame is impossible (`check_structure`), the folder holds something
            else, or another process is converting into it.
    """
    files = [file for source in sources for file in source_files(source, Path())]
    plan = _plan(sources, files, settings)
    _refuse_foreign(output)
    output.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(output))
        except InputError as error:
            raise InputError(f"{output}: another process is converting into it; wait for it") from error
        _prepare(output, plan, resume)
        if not (output / MANIFEST).is_file():
            stream = _stream(sources, files)
            count = _convert_all(stream, output, settings, processes, progress)
            if not count:
                raise InputError(f"{sources[0].path}: frames {sources[0].frames!r} selects nothing")
            _finish(output, plan, count)
    return MappedFrames(output)


def convert_shard(output: Path, settings: Settings, number: int, raw_frames: Sequence[RawFrame]) -> Converted:
    """Parse, check and write the frames of one shard, unless an earlier run did and the file is undamaged.

    Returns:
        The number of frames, and what was seen of their stresses.

    Raises:
        InputError: naming file and frame.
    """
    path = output / SHARDS / shard_name(number)
    if path.exists() and holds_frames(path, [raw.source for raw in raw_frames]):
        return len(raw_frames), None
    watch = StressWatch(settings.reading)
    structures = []
    for raw in raw_frames:
        structure = watch.structure(raw)
        check_structure(structure, len(chemical_symbols))
        structures.append(structure)
    edges = None
    cutoff = settings.edges_cutoff
    if cutoff is not None:
        lists = (neighbour_list(s.positions, s.cell, s.pbc, cutoff) for s in structures)
        edges = np.array([len(sender) for sender, _, _ in lists], dtype=np.int64)
    write_atomically(path, shard_bytes(structures, edges))
    return len(structures), watch


def _convert_all(
    stream: Iterator[tuple[float, RawFrame]],
    output: Path,
    settings: Settings,
    processes: int,
    progress: Progress,
) -> int:
    """Convert the stream, shard by shard, and return the number of shards."""
    watch, frames, shards = StressWatch(settings.reading), 0, 0
    for done, task in _tasks(stream, output, settings, processes):
        try:
            converted, seen = task()
        except BrokenProcessPool as error:
            raise InputError(
                "a process was killed from outside, perhaps because memory ran out;"
                " resume with the same command and fewer --processes"
            ) from error
        watch.join(seen)
        frames, shards = frames + converted, shards + 1
        progress(done, frames)
    if shards:
        watch.finish()
    return shards


def _tasks(
    stream: Iterator[tuple[float, RawFrame]], output: Path, settings: Settings, processes: int
) -> Iterator[tuple[float, Callable[[], Converted]]]:
    """Iterate over the shards in order: the fraction of the input that has been read, and a call for the result.

    With several processes, the call waits for one of them, and at most twice as many shards as processes are in
    memory.
    """
    work = partial(convert_shard, output, settings)
    pool = None
    if processes > 1:  # a forked process would inherit the locks of threads
        pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=end_with_parent)
    waiting: deque[tuple[float, Callable[[], Converted]]] = deque()
    try:
        for number, done, raw_frames in _shards(stream, settings.frames_per_shard):
            task = partial(work, number, raw_frames)
            waiting.append((done, pool.submit(task).result if pool is not None else task))
            if pool is None or len(waiting) >= 2 * processes:
                yield waiting.popleft()
        yield from waiting
    finally:
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)


def _shards(
    stream: Iterator[tuple[float, RawFrame]], length: int
) -> Iterator[tuple[int, float, list[RawFrame]]]:
    number = 0
    while found := list(islice(stream, length)):
        yield number, found[-1][0], [raw for _, raw in found]
        number += 1


def _stream(sources: Sequence[Source], files: Sequence[tuple[Path, str]]) -> Iterator[tuple[float, RawFrame]]:
    """Iterate over all frames, each with the fraction of all bytes that has been read."""
    sizes = {path: path.stat().st_size for path, _ in files}
    counts = [sizes[path] for path, _ in files]
    before = dict(zip([path for path, _ in files], np.cumsum([0, *counts[:-1]]).tolist(), strict=True))
    total = max(sum(counts), 1)
    for source in sources:
        for path, raw in source_frames(source, Path()):
            yield (before[path] + raw.done * sizes[path]) / total, raw


def _plan(sources: Sequence[Source], files: Sequence[tuple[Path, str]], settings: Settings) -> dict[str, Any]:
    """Return everything that decides the content of the set, so that changed sources give another plan."""
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
    return {
        "path": str(path),
        "format": kind,
        "bytes": state.st_size,
        "modified_ns": state.st_mtime_ns,
        "blake2b_of_both_ends": hashlib.blake2b(sample, digest_size=16).hexdigest(),
    }


def _refuse_foreign(output: Path) -> None:
    """Refuse a folder that holds something else, before anything is written into it."""
    if not output.exists() or is_esendata(output):
        return
    if not output.is_dir() or any(path.name != LOCK for path in output.iterdir()):
        raise InputError(f"{output}: is there and is no training set; give another name")


def _prepare(output: Path, plan: dict[str, Any], resume: bool) -> None:
    """Write the plan, or check that the conversion in the folder has the same one."""
    if is_esendata(output) and resume:
        begun = read_json(output / PLAN, "give another name, or --restart to begin anew")
        changed = [key for key in plan if begun.get(key) != plan[key]]
        if changed:
            raise InputError(
                f"{output}: holds another conversion (other {', '.join(changed)});"
                " give another name, or --restart to begin anew"
            )
        return
    (output / MANIFEST).unlink(missing_ok=True)
    for folder in (output / SHARDS, output / INDEX):
        if folder.exists():
            shutil.rmtree(folder)
    write_json(output / PLAN, plan)


def _finish(output: Path, plan: dict[str, Any], count: int) -> None:
    """Write the index and the manifest of `count` shards."""
    shards, columns = [], []
    for number in range(count):
        path = output / SHARDS / shard_name(number)
        shard = open_shard(path)
        columns.append(shard.facts())
        shards.append(
            {
                "file": path.name,
                "frames": len(shard),
                "atoms": int(columns[-1]["atoms"].sum()),
                "bytes": path.stat().st_size,
                "blake2b": file_checksum(path),
            }
        )
        shard.release()
    merged = {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
    for name, column in merged.items():
        with replacing(output / INDEX / f"{name}.npy") as partial_file, partial_file.open("wb") as file:
            np.save(file, column)
    facts = Facts(**{k: v for k, v in merged.items() if k != "edges"}, weights=np.ones(len(merged["atoms"])))
    manifest = plan | {
        "esen": __version__,
        "python": sys.version.split()[0],
        "units": UNITS,
        "frames": len(facts),
        "atoms": int(facts.atoms.sum()),
        "elements": {chemical_symbols[z]: frames for z, frames in facts.frames_with().items()},
        "labels": {target.name: int(facts.has(target).sum()) for target in TARGETS},
        "shards": shards,
        "index": {name: file_checksum(output / INDEX / f"{name}.npy") for name in merged},
    }
    write_json(output / MANIFEST, manifest | {"blake2b": manifest_checksum(manifest)})
