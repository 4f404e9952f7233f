"""The files of a run."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import ase.io
import numpy as np

from esen.files import write_atomically
from esen.study.relax.record import Record, atoms_of


def write_results(output: Path, records: Sequence[Record]) -> dict[str, Path]:
    """`relax.csv` of all structures, and `relaxed.extxyz` of those that have a result, in order; gives their paths."""
    paths = {"structure by structure": output / "relax.csv"}
    write_atomically(paths["structure by structure"], _csv(records).encode())
    relaxed, path = [atoms_of(record) for record in records if not record.failure], output / "relaxed.extxyz"
    path.unlink(missing_ok=True)
    if relaxed:
        paths["relaxed"] = path
        text = io.StringIO()
        ase.io.write(text, relaxed, format="extxyz")
        write_atomically(path, text.getvalue().encode())
    return paths


def _csv(records: Sequence[Record]) -> str:
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(
        [
            "name",
            "source",
            "formula",
            "atoms",
            "energy_before (eV)",
            "energy (eV)",
            "energy_change (meV/atom)",
            "fmax_before (eV/Å)",
            "fmax (eV/Å)",
            "steps",
            "converged",
            "melted",
            "volume_ratio",
            "displacement (Å)",
            "group_before",
            "group_after",
            "verdict",
            "failure",
        ]
    )
    for r in records:
        about: list[object] = [r.name, r.source, r.formula, r.atoms]
        numbers = [r.energy_before, r.energy, r.gained, r.fmax_before, r.fmax]
        ends: list[object] = [r.steps, r.converged, r.melted, *map(_number, (r.volume_ratio, r.displacement))]
        groups = [group or "" for group in r.groups] or ["", ""]
        writer.writerow([*about, *map(_number, numbers), *ends, *groups, r.verdict, r.failure])
    return table.getvalue()


def _number(value: float) -> float | str:
    return value if np.isfinite(value) else ""
