"""From files of any format to one memory-mapped training set: in parallel, and resumable wherever it was stopped.

The frames of all sources are one stream, which this process finds and cuts into parts of equal length; others
understand a part, check it and write it, under its number, whole or not at all. A part that is there is done.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from esen import __version__
from esen.data.cache import (
    INDEX,
    MANIFEST,
    SHARDS,
    MappedFrames,
    file_checksum,
    open_shard,
    shard_name,
)
from esen.data.checks import check_structure
from esen.data.convert_plan import Settings, finished_parts, make_plan, prepare
from esen.data.convert_pool import Part, converted
from esen.data.facts import Facts
from esen.data.neighbours import neighbour_list
from esen.data.readers.formats import FORMATS
from esen.data.readers.frame import Record
from esen.data.readers.reading import Source, StressWatch, source_files, source_records
from esen.data.shard import UNITS, shard_bytes
from esen.errors import InputError
from esen.files import replacing, write_atomically, write_json

__all__ = ["Settings", "convert", "convert_part"]

Progress = Callable[[float, int], None]
"""Takes the part of the input that has been gone through, 0 to 1, and the number of frames that are converted."""


def convert(
    sources: Sequence[Source],
    output: Path,
    settings: Settings,
    *,
    processes: int = 1,
    resume: bool = True,
    progress: Progress = lambda part, frames: None,
) -> MappedFrames:
    """Make a training set of all frames of the sources, or go on where that was stopped. The caller locks the folder.

    Args:
        sources: files, folders, patterns; not training sets.
        output: the folder; made if it is not there.
        settings: names of labels, and what else decides the content.
        processes: that understand and write frames; this one finds them.
        resume: keep what is there of the same conversion; else begin anew.
        progress: told after each part.

    Raises:
        InputError: a source cannot be read, a frame cannot be true (`check_structure`), or the folder holds something
            else.
    """
    files = [file for source in sources for file in source_files(source, Path())]
    plan = make_plan(sources, files, settings)
    prepare(output, plan, resume)
    if (output / MANIFEST).is_file():
        return MappedFrames(output)
    done = finished_parts(output)
    watch = StressWatch(settings.reading)
    total = count = 0
    stream = _stream(sources, files)
    for number, (frames, part_done, seen) in enumerate(
        converted(stream, done, partial(convert_part, output, settings), settings.frames_per_shard, processes)
    ):
        watch.join(seen)
        total, count = total + frames, number + 1
        progress(part_done, total)
    if not count:
        raise InputError(f"{sources[0].path}: frames {sources[0].frames!r} selects nothing")
    watch.finish()
    _finish(output, plan, count)
    return MappedFrames(output)


def convert_part(output: Path, settings: Settings, number: int, part: Part) -> tuple[int, StressWatch]:
    """Understand, check and write the frames of one part.

    Returns:
        Their number, and what was seen of their stresses.

    Raises:
        InputError: naming file and frame.
    """
    watch = StressWatch(settings.reading)
    structures = []
    for kind, record in part:
        frame = FORMATS[kind].parse(record)
        watch.see(frame)
        structure = settings.reading.structure(frame)
        check_structure(structure, len(chemical_symbols))
        structures.append(structure)
    edges = None
    cutoff = settings.edges_cutoff
    if cutoff is not None:
        lists = (neighbour_list(s.positions, s.cell, s.pbc, cutoff) for s in structures)
        edges = np.array([len(sender) for sender, _, _ in lists], dtype=np.int64)
    write_atomically(output / SHARDS / shard_name(number), shard_bytes(structures, edges))
    return len(structures), watch


def _stream(
    sources: Sequence[Source], files: Sequence[tuple[Path, str]]
) -> Iterator[tuple[float, str, Record]]:
    """Every record, with its format and the part of all bytes that has been gone through."""
    sizes = [path.stat().st_size for path, _ in files]
    before = dict(zip([path for path, _ in files], np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))
    total = max(sum(sizes), 1)
    for source in sources:
        for kind, path, record in source_records(source, Path()):
            yield (before[path] + record.done * path.stat().st_size) / total, kind, record


def _finish(output: Path, plan: dict[str, Any], count: int) -> None:
    """Index and manifest of the `count` parts."""
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
        "labels": {
            "energy": int(np.isfinite(facts.energies).sum()),
            "forces": int(facts.labelled.sum()),
            "stress": int(facts.stressed.sum()),
        },
        "shards": shards,
    }
    write_json(output / MANIFEST, manifest)
