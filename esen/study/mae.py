"""`esen mae`: the errors of a potential on labelled frames, as a table and as files."""

import csv
import io
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, TypedDict, Unpack

import numpy as np
from ase.data import chemical_symbols
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from esen.data.checks import check_structure
from esen.data.readers import Reading, read_structures
from esen.data.stress import StressConvention
from esen.data.structure import Structure
from esen.errors import InputError
from esen.evaluate.mae import evaluate_mae
from esen.evaluate.report import FrameErrors, GroupErrors, MaeReport
from esen.files import write_atomically
from esen.graph.types import Potential
from esen.md.calculator import choose_device, choose_dtype, find_weights
from esen.models.checkpoint import load_potential
from esen.recipe import SourceSpec
from esen.recipe.train import MemoryMode
from esen.study.plots import parity_plot

_MOST_ELEMENTS = 12

Row = dict[str, str | float | int | None]

logger = logging.getLogger(__name__)


class ReadingKeys(TypedDict, total=False):
    """Names of the labels, as in `data:` of a recipe."""

    energy_key: str
    forces_key: str
    stress_key: str
    stress_convention: StressConvention


@dataclass(frozen=True, eq=False)
class MaeResult:
    """The table, the files that were written, and all there is to know."""

    rows: list[Row]
    paths: dict[str, Path]
    report: MaeReport


def run_mae(
    potential: str,
    sources: Sequence[SourceSpec],
    *,
    output: Path,
    dtype: Literal["float32", "float64"] | None = None,
    device: str = "auto",
    memory: MemoryMode = "auto",
    batch_atoms: int = 256,
    **keys: Unpack[ReadingKeys],
) -> MaeResult:
    """Evaluate a checkpoint on the frames of files; write `mae.json`, `mae.csv` (by frame) and `mae.png`.

    Args:
        potential: a checkpoint, or the folder of a run, whose best one is taken.
        sources: the frames.
        output: folder of the files; made if it is not there.
        dtype: precision; None: that of the weights.
        device: `auto`: the GPU if there is one.
        memory: `fast`, `lean`, or by the memory that is free.
        batch_atoms: so many atoms are computed at once.
        **keys: the names of the labels in the files, where they are not the usual ones.

    Raises:
        InputError: the potential or the frames cannot be read, a frame cannot be true (`check_structure`), the
            potential does not know an element, a batch does not fit in memory, or the files cannot be written.
    """
    place = choose_device(device)
    weights = find_weights(Path(potential))
    loaded = load_potential(weights, dtype=choose_dtype(dtype), device=place, memory=memory)
    structures = read_structures(sources, Reading(**keys))
    for structure in structures:
        check_structure(structure, len(chemical_symbols))  # the potential itself knows its elements
    report = evaluate_with_progress(loaded, structures, batch_atoms=batch_atoms, device=place)
    return MaeResult(rows=mae_rows(report), paths=write_mae(report, output), report=report)


def mae_rows(report: MaeReport) -> list[Row]:
    """A table: all, every kind of configuration, and the elements, the largest force errors first."""
    rows = [_row("all", report.overall)]
    rows += [_row(name, group) for name, group in report.config_types.items()]
    if len(report.elements) < 2:
        return rows
    by_error = sorted(report.elements, key=lambda name: -np.nan_to_num(report.elements[name].forces.mae))
    rows += [_row(name, report.elements[name]) for name in by_error[:_MOST_ELEMENTS]]
    if len(by_error) > _MOST_ELEMENTS:
        rows.append(dict.fromkeys(rows[0]) | {"MAE of": f"{len(by_error) - _MOST_ELEMENTS} more: mae.json"})
    return rows


def write_mae(report: MaeReport, output: Path) -> dict[str, Path]:
    """Write `mae.json`, `mae.csv` and `mae.png`, each whole or not at all.

    Raises:
        InputError: the folder cannot be written.
    """
    paths = {
        "errors": output / "mae.json",
        "errors by frame": output / "mae.csv",
        "parity plot": output / "mae.png",
    }
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_atomically(paths["errors"], _json(report))
        write_atomically(paths["errors by frame"], _csv(report.frames))
        parity_plot(report, paths["parity plot"])
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error.strerror or error})") from error
    return paths


def evaluate_with_progress(
    potential: Potential, structures: Sequence[Structure], *, batch_atoms: int = 256, device: str = "cpu"
) -> MaeReport:
    """`evaluate_mae` under a progress bar, with a warning of what is in no mean."""
    columns = (TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(structures))
        report = evaluate_mae(
            potential,
            structures,
            batch_atoms=batch_atoms,
            device=device,
            progress=lambda done: bar.update(task, completed=done),
        )
    for words, counts in (
        ("have no reference", report.missing),
        ("have a NaN or infinite prediction, which is in no mean", report.not_finite),
    ):
        for name, count in asdict(counts).items():
            if count:
                logger.warning("%s: %d of %d structures %s", name, count, len(structures), words)
    return report


def _row(name: str, group: GroupErrors) -> Row:
    def shown(value: float, count: int) -> float | None:
        return value if count else None

    return {
        "MAE of": name,
        "energy (meV/atom)": shown(group.energy.mae, group.energy.count),
        "forces (meV/Å)": shown(group.forces.mae, group.forces.count),
        "stress (meV/Å³)": shown(group.stress.mae, group.stress.count),
        "frames": group.energy.count,
    }


def _json(report: MaeReport) -> bytes:
    return json.dumps(report.to_json(), indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _csv(frames: Sequence[FrameErrors]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(FrameErrors)])
    writer.writeheader()
    writer.writerows(asdict(frame) for frame in frames)
    return text.getvalue().encode()
