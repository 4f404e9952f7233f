"""`esen data`: training sets made, described, and judged."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase.data import chemical_symbols
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from esen.data.cache import MappedFrames
from esen.data.convert import Settings, convert
from esen.data.doctor import energies_left
from esen.data.frames import Frames, Mixture
from esen.data.readers import Files, Reading, load_frames
from esen.data.readers.reading import source_files
from esen.data.references import References, fit_references, isolated_references
from esen.data.shard import UNITS
from esen.errors import InputError
from esen.files import locked, write_json

Row = dict[str, str | float | int | None]

_SMALL = 50_000_000
"""Bytes of input up to which starting other processes is not worth its seconds."""


@dataclass(frozen=True, eq=False)
class DataResult:
    """Tables to show, lines to say, and files that were written."""

    tables: list[list[Row]]
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
    """Make a memory-mapped training set, or go on with one that was begun.

    Args:
        sources: files, folders, patterns.
        output: the folder of the set.
        reading: names of the labels in the files.
        processes: that convert; None: as many as there are CPUs, one for small inputs.
        resume: keep what is there of the same conversion.
        edges_cutoff: if given, the edges up to so many Å are counted.

    Raises:
        InputError: a source cannot be read, or the folder holds something else.
        KeyboardInterrupt: by Ctrl-C; what is finished is kept.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file, expected a folder for the training set, such as set.esendata")
    files = [path for source in sources for path, _ in source_files(source, Path())]
    if processes is None:
        processes = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        processes = 1 if sum(path.stat().st_size for path in files) < _SMALL else processes
    settings = Settings(reading, edges_cutoff)
    output.mkdir(parents=True, exist_ok=True)
    with _locked(output), _converting(output) as bar:
        task = bar.add_task("", total=1.0, frames=0)
        frames = convert(
            sources,
            output,
            settings,
            processes=processes,
            resume=resume,
            progress=lambda part, count: bar.update(task, completed=part, frames=count),
        )
    return DataResult([_overview(frames)], {"training set": output}, (_how_to_train(output),))


def run_info(paths: Sequence[Files], reading: Reading) -> DataResult:
    """What files or training sets hold: counts, sizes, elements, labels, units."""
    frames = read_frames(paths, reading)
    return DataResult([_overview(frames), _elements(frames)], {}, tuple(_units(frames)))


def run_references(
    paths: Sequence[Files],
    reading: Reading,
    method: Literal["least_squares", "isolated_atoms"],
    output: Path | None = None,
) -> DataResult:
    """Reference energies of the elements, as a table and as a file for `data.references: {file: …}`."""
    frames = read_frames(paths, reading)
    make = fit_references if method == "least_squares" else isolated_references
    references = make(frames, len(chemical_symbols))
    counts = frames.facts.frames_with()
    rows: list[Row] = [
        {
            "element": chemical_symbols[z],
            "E0 (eV)": f"{references.energies[z]:.6f}",
            "frames": counts[z],
            "fixed by the data": "no" if z in references.confounded else "yes",
        }
        for z in references.elements
    ]
    lines, written = [_spread(frames, references)], {}
    if references.rank_deficient:
        lines.append(rank_warning(references))
    if output is not None:
        energies = {chemical_symbols[z]: float(references.energies[z]) for z in references.elements}
        content = {"method": method, "unit": "eV", "frames": len(frames), "energies": energies}
        write_json(output, content)
        written["reference energies"] = output
        lines.append(f"to train with them write data.references: {{file: {output}}}")
    return DataResult([rows], written, tuple(lines))


def rank_warning(references: References) -> str:
    """What a fit of low rank means."""
    names = ", ".join(chemical_symbols[z] for z in references.confounded)
    return (
        f"warning: the frames fix the reference energies of {names} only in sums (rank {references.rank} of"
        f" {len(references.elements)}); frames of other compositions, or isolated atoms, would fix them"
    )


def read_frames(paths: Sequence[Files], reading: Reading) -> Frames:
    """All frames of files and training sets."""
    loaded = load_frames(paths, reading)
    return loaded[0] if len(loaded) == 1 else Mixture(loaded)


def _overview(frames: Frames) -> list[Row]:
    facts = frames.facts
    atoms = facts.atoms
    energies, periodic = np.isfinite(facts.energies), int(facts.periodic.sum())

    def share(count: int, of: int) -> str:
        return f"{count:,} of {of:,}" + (f" ({count / of:.1%})" if 0 < count < of else "")

    rows: dict[str, str] = {
        "frames": f"{len(frames):,}",
        "atoms": f"{int(atoms.sum()):,}",
        "atoms a frame": f"{atoms.min()} to {atoms.max()}, median {np.median(atoms):g}",
        "periodic in three directions": share(periodic, len(frames)),
        "with energy": share(int(energies.sum()), len(frames)),
        "with forces": share(int(facts.labelled.sum()), len(frames)),
        "with stress": share(int(facts.stressed.sum()), len(frames)),
    }
    if facts.labelled.any():
        squares, counts = facts.force_squares[facts.labelled], atoms[facts.labelled]
        rows["rms force component"] = f"{np.sqrt(squares.sum() / (3 * counts.sum())):.4g} eV/Å"
        rows["largest force"] = f"{np.nanmax(facts.largest_forces):.4g} eV/Å"
    if energies.any():
        per_atom = facts.energies[energies] / atoms[energies]
        rows["energy an atom"] = f"{per_atom.min():.4g} to {per_atom.max():.4g} eV"
    return [{"": name, "value": value} for name, value in rows.items()]


def _elements(frames: Frames) -> list[Row]:
    facts = frames.facts
    atoms = np.bincount(facts.elements, weights=facts.counts, minlength=len(chemical_symbols))
    return [
        {"element": chemical_symbols[z], "frames": count, "atoms": int(atoms[z])}
        for z, count in facts.frames_with().items()
    ]


def _units(frames: Frames) -> Iterator[str]:
    yield "as esen has them: " + "; ".join(
        f"{name} {UNITS[name]}" for name in ("positions", "energy", "forces", "stress")
    )
    if isinstance(frames, MappedFrames):
        manifest = frames.manifest
        yield f"made by esen {manifest['esen']} of {len(manifest['files'])} files:"
        for file in manifest["files"][:10]:
            yield f"  {file['path']} ({file['format']}, {file['bytes']:,} bytes)"
        if len(manifest["files"]) > 10:
            yield f"  and {len(manifest['files']) - 10} more"


def _spread(frames: Frames, references: References) -> str:
    """What the references leave for the network to learn."""
    left = energies_left(frames, references)
    return f"energies an atom without them: standard deviation {1e3 * np.nanstd(left):.4g} meV"


def _how_to_train(output: Path) -> str:
    return f"to train on it write data.train: [{{path: {output}}}]"


@contextmanager
def _locked(output: Path) -> Iterator[None]:
    try:
        lock = locked(output)
        lock.__enter__()
    except InputError as error:
        raise InputError(f"{output}: another process is converting into it; wait for it") from error
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


@contextmanager
def _converting(output: Path) -> Iterator[Progress]:
    """A bar with frames, their rate and the time left; and what to say when it is interrupted."""
    console = Console(stderr=True)
    columns = (
        TextColumn("converting"),
        BarColumn(),
        TaskProgressColumn(),
        _Rate(""),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            yield bar
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; {output} goes on with the same command") from None


class _Rate(TextColumn):
    """Frames so far, and frames a second."""

    def render(self, task: Any) -> Any:
        """As `12,000 frames, 1,450/s`."""
        count, seconds = task.fields["frames"], task.elapsed or 0.0
        self.text_format = f"{count:,} frames" + (f", {count / seconds:,.0f}/s" if seconds > 0 else "")
        return super().render(task)
