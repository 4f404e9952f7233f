"""Measure the conversion to a memory-mapped training set against ASE's reader, and the memory of a random epoch.

    python benchmarks/conversion.py FRAMES.xyz.gz [--frames 1000000] [--processes 1 2] [--folder DIR]

The frames of the file are repeated up to the requested number, with atoms displaced at random by 0.001 Å. One run
writes the extended XYZ, reads a tenth of it by `ase.io.iread`, and converts it with each number of processes. A new
process then opens the set and reads every frame once in random order. The script prints wall-clock and CPU seconds.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from ase.io import iread

from esen.data.convert import Settings, convert
from esen.data.readers import Files, Reading, load_structures
from esen.data.structure import Structure
from esen.data.training_set import MappedFrames

RATTLE = 0.001


def write_frames(structures: list[Structure], count: int, path: Path) -> None:
    """Write extended XYZ in the style of published data sets."""
    random = np.random.default_rng(0)
    parts = []
    for s in structures:
        lattice = " ".join(f"{x:.8g}" for x in s.cell.ravel())
        stress = "" if s.stress is None else f'stress="{" ".join(f"{x:.10g}" for x in s.stress.ravel())}" '
        columns = "Properties=species:S:1:pos:R:3:forces:R:3"
        head = f'{len(s)}\nLattice="{lattice}" {columns} energy={s.energy} {stress}pbc="T T T"\n'
        forces = [" ".join(f"{x:16.8f}" for x in row) for row in s.forces]
        parts.append((head, [chemical_symbols[z] for z in s.numbers], s.positions, forces))
    with path.open("w") as file:
        for head, symbols, positions, forces in islice(cycle(parts), count):
            moved = (positions + random.normal(0, RATTLE, positions.shape)).tolist()
            rows = [
                f"{a:2s} {x:16.8f} {y:16.8f} {z:16.8f} {f}"
                for a, (x, y, z), f in zip(symbols, moved, forces, strict=True)
            ]
            file.write(head + "\n".join(rows) + "\n")


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return the result, the wall-clock seconds, and the CPU seconds including those of ended child processes."""
    start, used = time.perf_counter(), cpu_seconds()
    result = work()
    return result, time.perf_counter() - start, cpu_seconds() - used


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and its ended child processes."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def open_and_run(path: Path) -> dict[str, float]:
    """Open a set in this new process, read one frame, and then read all frames in random order."""

    def memory() -> float:
        """Return the peak resident memory in MB, including pages of files; getrusage would include the parent."""
        (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM")]
        return int(line.split()[1]) / 1024

    before = memory()
    start = time.perf_counter()
    frames = MappedFrames(path)
    atoms = int(frames.atoms.sum())
    frames[len(frames) // 2]
    opened = time.perf_counter() - start
    start, seen = time.perf_counter(), 0.0
    for index in np.random.default_rng(0).permutation(len(frames)):
        s = frames[int(index)]
        seen += float(s.positions.sum() + s.forces.sum())
    seconds = time.perf_counter() - start
    return {
        "frames": len(frames),
        "atoms": atoms,
        "open_seconds": opened,
        "epoch_seconds": seconds,
        "megabytes_before": before,
        "megabytes_most": memory(),
        "sum": seen,
    }


def main() -> None:
    """Run all measurements. The script calls itself with `--look` to read the set in a new process."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--folder", type=Path, help="folder for several GB of temporary files")
    parser.add_argument("--look", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.look:
        print(json.dumps(open_and_run(given.file)))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        measure(given.file, given.frames, given.processes, Path(folder))


def measure(file: Path, count: int, processes: list[int], folder: Path) -> None:
    """Print one line per measurement."""
    text = folder / "frames.xyz"
    _, wall, _ = timed(lambda: write_frames(load_structures([Files(str(file))]), count, text))
    print(f"{count:,} frames, {text.stat().st_size / 1e9:.2f} GB, written in {wall:.0f} s", flush=True)
    tenth = max(count // 10, 1)
    _, wall, cpu = timed(lambda: sum(1 for _ in islice(iread(text, index=":", format="extxyz"), tenth)))
    by_ase = tenth / cpu
    print(
        f"ase.io.iread of {tenth:,}: {tenth / wall:,.0f} frames/s, {by_ase:,.0f} per CPU second", flush=True
    )
    for number in processes:
        output = folder / f"{number}.esendata"
        source, settings = [Files(str(text))], Settings(Reading())
        _, wall, cpu = timed(partial(convert, source, output, settings, processes=number))
        print(
            f"convert, {number} processes: {count / wall:,.0f} frames/s ({wall:.1f} s),"
            f" {count / cpu:,.0f} per CPU second, {count / cpu / by_ase:.2f} × ase.io.iread",
            flush=True,
        )
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    print(f"the set: {size / 1e9:.2f} GB", flush=True)
    look = [sys.executable, __file__, str(output), "--look"]
    found = json.loads(subprocess.run(look, check=True, capture_output=True, text=True).stdout)
    print(
        f"{found['frames']:,} frames, {found['atoms']:,} atoms: opened in {1e3 * found['open_seconds']:.0f} ms;"
        f" random epoch {found['frames'] / found['epoch_seconds']:,.0f} frames/s,"
        f" at most {found['megabytes_most']:.0f} MB resident ({found['megabytes_before']:.0f} before)"
    )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
