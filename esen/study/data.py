"""`esen data`: make, describe and judge training sets, and fit reference energies."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal

import numpy as np
from ase.data import chemical_symbols
from rich.progress import BarColumn, TaskProgressColumn, TimeRemainingColumn

from esen.data.convert import Settings, convert
from esen.data.examine import energies_left
from esen.data.frames import Frames, Mixture
from esen.data.readers import Files, Reading, load_frames
from esen.data.readers.sources import source_files
from esen.data.references import fit_references, isolated_references
from esen.data.targets import TARGETS
from esen.data.training_set import UNITS, MappedFrames
from esen.errors import InputError
from esen.files import write_json
from esen.terminal import progress_bar

TableRow = dict[str, str | float | int | None]
"""A row of a table for the terminal, by column."""

_SMALL = 50_000_000
"""Bytes of input up to which the start of worker processes takes longer than it saves."""
_NAMED = 10
"""Source files of a training set that are listed."""


@dataclass(frozen=True, eq=False)
class DataResult:
    """The result of a command.

    Attributes:
        tables: tables to show.
        paths: files that were written, by what they are.
        lines: remarks to show.
    """

    tables: list[list[TableRow]]
    paths: dict[str, Path]
    lines: tuple[str, ...] = ()


def run_convert(
    sources: Sequence[Files],
    output: Path,
    reading: Reading,
    *,
    processes: int | None = None,
    resume: bool = True,
    edges_cutoff: float | None = None,
) -> DataResult:
    """Make a memory-mapped training set, or resume a conversion.

    Args:
        sources: files, folders, patterns.
        output: folder of the set.
        reading: names of the labels in the files.
        processes: number of worker processes; None: one per CPU, or one for small inputs.
        resume: keep the shards of an earlier run of the same conversion.
        edges_cutoff: if given, edges up to this distance in Å are counted.

    Raises:
        InputError: a source cannot be read, or the folder holds something else.
        KeyboardInterrupt: on Ctrl-C; finished shards are kept.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file, expected a folder for the training set, such as set.esendata")
    if processes is None:
        sizes = [path.stat().st_size for source in sources for path, _ in source_files(source, Path())]
        processes = _cpus() if sum(sizes) >= _SMALL else 1
    start = perf_counter()
    try:
        columns = (BarColumn(), TaskProgressColumn(), "{task.fields[count]}", TimeRemainingColumn())
        with progress_bar("converting", *columns) as bar:
            task = bar.add_task("", total=1.0, count="")

            def show(done: float, frames: int) -> None:
                rate = frames / (perf_counter() - start)
                bar.update(task, completed=done, count=f"{frames:,} frames, {rate:,.0f}/s")

            settings = Settings(reading, edges_cutoff)
            made = convert(sources, output, settings, processes=processes, resume=resume, progress=show)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; to resume {output}, use the same command") from None
    advice = f"to train on it write data.train: [{{path: {output}}}]"
    return DataResult([_overview(made)], {"training set": output}, (advice,))


def run_info(paths: Sequence[Files], reading: Reading) -> DataResult:
    """Describe files or training sets: counts, sizes, elements, labels, units."""
    frames = read_frames(paths, reading)
    return DataResult([_overview(frames), _elements(frames)], {}, tuple(_units_and_origin(frames)))


def run_references(
    paths: Sequence[Files],
    reading: Reading,
    method: Literal["least_squares", "isolated_atoms"],
    output: Path | None = None,
) -> DataResult:
    """Fit reference energies; return a table, and write a file for `data.references: {file: …}` if asked for."""
    frames = read_frames(paths, reading)
    make = fit_references if method == "least_squares" else isolated_references
    references = make(frames, len(chemical_symbols))
    counts = frames.facts.frames_with()
    rows: list[TableRow] = [
        {
            "element": chemical_symbols[z],
            "E0 (eV)": f"{references.energies[z]:.6f}",
            "frames": counts[z],
            "fixed by the data": "no" if z in references.confounded else "yes",
        }
        for z in references.elements
    ]
    spread = 1e3 * np.nanstd(energies_left(frames, references))
    lines = [f"energies per atom without them: standard deviation {spread:.4g} meV"]
    written = {}
    if references.rank_deficient:
        names = ", ".join(chemical_symbols[z] for z in references.confounded)
        lines.append(
            f"warning: the frames fix the reference energies of {names} only in sums (rank {references.rank} of"
            f" {len(references.elements)}); frames of other compositions, or isolated atoms, would fix them"
        )
    if output is not None:
        energies = {chemical_symbols[z]: float(references.energies[z]) for z in references.elements}
        content = {"method": method, "unit": "eV", "frames": len(frames), "energies": energies}
        write_json(output, content)
        written["reference energies"] = output
        lines.append(f"to train with them write data.references: {{file: {output}}}")
    return DataResult([rows], written, tuple(lines))


def read_frames(paths: Sequence[Files], reading: Reading) -> Frames:
    """Return all frames of files and training sets."""
    loaded = load_frames(paths, reading)
    return loaded[0] if len(loaded) == 1 else Mixture(loaded)


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _overview(frames: Frames) -> list[TableRow]:
    facts, total = frames.facts, len(frames)
    atoms = facts.atoms

    def share(chosen: np.ndarray) -> str:
        count = int(chosen.sum())
        return f"{count:,} of {total:,}" + (f" ({count / total:.1%})" if 0 < count < total else "")

    rows: dict[str, str] = {
        "frames": f"{total:,}",
        "atoms": f"{int(atoms.sum()):,}",
        "atoms per frame": f"{atoms.min()} to {atoms.max()}, median {np.median(atoms):g}",
        "periodic in three directions": share(facts.periodic),
    }
    rows |= {f"with {target.name}": share(facts.has(target)) for target in TARGETS}
    if facts.labelled.any():
        squares, counts = facts.force_squares[facts.labelled], atoms[facts.labelled]
        rows["rms force component"] = f"{np.sqrt(squares.sum() / (3 * counts.sum())):.4g} eV/Å"
        rows["largest force"] = f"{np.nanmax(facts.largest_forces):.4g} eV/Å"
    energies = np.isfinite(facts.energies)
    if energies.any():
        per_atom = facts.energies[energies] / atoms[energies]
        rows["energy per atom"] = f"{per_atom.min():.4g} to {per_atom.max():.4g} eV"
    return [{"": name, "value": value} for name, value in rows.items()]


def _elements(frames: Frames) -> list[TableRow]:
    facts = frames.facts
    atoms = np.bincount(facts.elements, weights=facts.counts, minlength=len(chemical_symbols))
    return [
        {"element": chemical_symbols[z], "frames": count, "atoms": int(atoms[z])}
        for z, count in facts.frames_with().items()
    ]


def _units_and_origin(frames: Frames) -> Iterator[str]:
    names = ("positions", "energy", "forces", "stress")
    yield "units in esen: " + "; ".join(f"{name} {UNITS[name]}" for name in names)
    if isinstance(frames, MappedFrames):
        manifest, files = frames.manifest, frames.manifest["files"]
        yield f"made by esen {manifest['esen']} of {len(files)} files:"
        for file in files[:_NAMED]:
            yield f"  {file['path']} ({file['format']}, {file['bytes']:,} bytes)"
        if len(files) > _NAMED:
            yield f"  and {len(files) - _NAMED} more"
