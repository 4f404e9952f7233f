"""`esen mae`: the errors of potentials on labelled frames, as a table and as files."""

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from ase.data import chemical_symbols
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from esen.data.checks import check_structure
from esen.data.readers import Reading, load_structures
from esen.data.structure import Structure
from esen.data.targets import TARGETS, Target, listed
from esen.errors import InputError
from esen.evaluate.mae import evaluate_mae
from esen.evaluate.report import FrameErrors, GroupErrors, MaeReport
from esen.files import csv_text, write_atomically
from esen.graph.types import Potential
from esen.recipe import SourceSpec
from esen.study.plots.parity import parity_plot
from esen.study.potentials import PotentialOptions, file_name, potential_sources, resolve_all
from esen.study.table import Column, Table, write_result

_MOST_ROWS = {"all": 1, "group": 40, "element": 12}
"""Rows of each kind that a terminal shows for each potential."""
_WORST = 3
"""Worst frames that are named for each target."""
_NAMED = 3
"""Frames, and reasons, that a warning names."""

Row = dict[str, str | float | int | None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MaeOptions:
    """How potentials are compared with labels.

    Attributes:
        batch_atoms: Largest number of atoms that are predicted together; an ASE calculator takes one frame at a time.
        group_by: Key of a frame's `info` whose values divide the frames into groups; None: `config_type`, where
            frames have it.
    """

    batch_atoms: int = 256
    group_by: str | None = None


@dataclass(frozen=True)
class MaeRecord:
    """Errors of a potential on a group of frames.

    Attributes:
        potential: Label of the potential.
        kind: `all`, `group` or `element`.
        name: Name of the group, or symbol of the element.
        errors: The errors; None in a row that only says how many rows are not shown.
    """

    potential: str
    kind: str
    name: str
    errors: GroupErrors | None


@dataclass(frozen=True)
class WorstFrame:
    """One of the frames on which a potential has its largest errors of a target."""

    potential: str
    target: Target
    frame: FrameErrors


@dataclass(frozen=True, eq=False)
class MaeResult:
    """What `esen mae` prints, and the files that it has written.

    Attributes:
        table: Errors on all frames, and on each group and element.
        worst: The frames with the largest errors.
        paths: Files by what they hold.
        reports: Everything that was found, by label of the potential.
    """

    table: Table[MaeRecord]
    worst: Table[WorstFrame]
    paths: dict[str, Path]
    reports: dict[str, MaeReport]


def run_mae(
    potentials: Sequence[str],
    sources: Sequence[SourceSpec],
    *,
    output: Path,
    reading: Reading | None = None,
    options: MaeOptions | None = None,
    **how: Unpack[PotentialOptions],
) -> MaeResult:
    """Evaluate potentials on the frames of files.

    Each potential gets `mae.json`, `mae.csv` (one row per frame) and `mae.png`, in a folder of its label if there are
    several. `errors.csv` and `result.json` have the errors of all potentials.

    Args:
        potentials: Each as `resolve_potential` takes it.
        sources: The frames.
        output: Folder of the files; it is made if it does not exist.
        reading: Names of the labels in the files; by default a frame may lack any of them.
        options: Batches and groups.
        **how: Options of `resolve_all`; a checkpoint keeps the precision of its weights if no dtype is given.

    Raises:
        InputError: A potential or the frames cannot be read; a frame is impossible (`check_structure`); no frame has a
            label, or the key of the groups; a potential can predict no frame; a batch does not fit in memory; or the
            files cannot be written.
    """
    options, reading = options or MaeOptions(), reading or Reading(required=())
    resolved = resolve_all(potentials, how, default_dtype=None)
    structures = load_structures(sources, reading)
    for structure in structures:
        check_structure(
            structure, len(chemical_symbols)
        )  # the elements of a potential are checked with its labels
    _check_labels(structures, options.group_by)
    several = len(resolved) > 1
    reports: dict[str, MaeReport] = {}
    paths: dict[str, Path] = {}
    remarks: list[str] = []
    for label, one in resolved.items():
        report = _evaluate(
            one.potential,
            structures,
            label if several else "evaluating",
            batch_atoms=options.batch_atoms if one.calculator is None else 1,
            device=one.device,
            elements=one.possible_elements,
            group_by=options.group_by or "config_type",
        )
        written = write_mae(report, output / file_name(label) if several else output)
        paths |= {f"{name}, {label}" if several else name: path for name, path in written.items()}
        remarks += _remarks(report, f"{label}: " if several else "")
        reports[label] = report
    for line in dict.fromkeys(remarks):
        logger.warning(line)
    records = _records(reports)
    worst = [frame for label, report in reports.items() for frame in _worst_frames(label, report)]
    with _writing(output):
        paths["errors of all groups"] = output / "errors.csv"
        write_atomically(output / "errors.csv", Table(_columns(), records).csv())
        paths["result"] = write_result(
            output,
            "mae",
            potentials={
                label: replace(source, dtype=resolved[label].dtype)
                for label, source in potential_sources(potentials, how, default_dtype=None).items()
            },
            settings={
                "sources": [source.model_dump(exclude_defaults=True) for source in sources],
                "labels": asdict(reading),
                **asdict(options),
            },
            table=Table(_columns(), records),
            worst_frames=Table(_worst_columns(), worst),
            left_out={label: [asdict(one) for one in report.left_out] for label, report in reports.items()},
        )
    return MaeResult(
        Table(_columns(several), _shown(records)), Table(_worst_columns(several), worst), paths, reports
    )


def evaluate_with_progress(
    potential: Potential, structures: Sequence[Structure], *, batch_atoms: int = 256, device: str = "cpu"
) -> MaeReport:
    """Run `evaluate_mae` under a progress bar, and warn of what is in no mean."""
    report = _evaluate(potential, structures, "evaluating", batch_atoms=batch_atoms, device=device)
    for line in _remarks(report, ""):
        logger.warning(line)
    return report


def mae_rows(report: MaeReport) -> list[Row]:
    """Return the table of one potential: all frames, every group, and the elements, the largest force error first."""
    columns = [column for column in _columns(several=False) if column.shown]
    return [
        {column.heading: column.of(record) for column in columns} for record in _shown(_records({"": report}))
    ]


def write_mae(report: MaeReport, output: Path) -> dict[str, Path]:
    """Write `mae.json`, `mae.csv` and `mae.png`, each as a whole or not at all.

    Raises:
        InputError: The folder cannot be written.
    """
    paths = {
        "errors": output / "mae.json",
        "errors by frame": output / "mae.csv",
        "parity plot": output / "mae.png",
    }
    with _writing(output):
        text = json.dumps(report.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
        write_atomically(paths["errors"], f"{text}\n")
        write_atomically(paths["errors by frame"], _frames_csv(report))
        parity_plot(report, paths["parity plot"])
    return paths


@contextmanager
def _writing(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error.strerror or error})") from error


def _check_labels(structures: Sequence[Structure], group_by: str | None) -> None:
    """Refuse frames with which nothing can be compared, or that lack the key of the groups."""
    if all(target.of(structure) is None for structure in structures for target in TARGETS):
        options = ", ".join(f"--{target.name}-key" for target in TARGETS)
        raise InputError(
            f"{structures[0].source}: neither this frame nor any other has {listed(TARGETS)}; name them with {options}"
        )
    keys = dict.fromkeys(key for structure in structures for key in structure.info)
    if group_by is not None and group_by not in keys:
        raise InputError(
            f"--group-by {group_by}: no frame has it; frames have {', '.join(keys) or 'no such keys'}"
        )


def _evaluate(potential: Potential, structures: Sequence[Structure], title: str, **options: Any) -> MaeReport:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=len(structures))
        return evaluate_mae(
            potential, structures, progress=lambda done: bar.update(task, completed=done), **options
        )


def _remarks(report: MaeReport, start: str) -> Iterator[str]:
    """Yield a line for everything that is in no mean; `start` names the potential."""
    total = len(report.frames) + len(report.left_out)
    for name, count in report.missing.items():
        if count:
            yield f"{name}: {count} of {total} structures have no reference"
    for name, count in report.not_finite.items():
        if name in report.not_predicted:
            yield f"{start}{name}: the potential predicts none (NaN for each of {count} structures)"
        elif count:
            yield (
                f"{start}{name}: {count} of {total} structures have a NaN or infinite prediction, which is in no mean"
            )
    reasons: dict[str, list[str]] = {}
    for one in report.left_out:
        reasons.setdefault(one.reason, []).append(one.source)
    for reason, frames in list(reasons.items())[:_NAMED]:
        more = f" and {len(frames) - _NAMED} more" if len(frames) > _NAMED else ""
        yield (
            f"{start}{len(frames)} of {total} structures are left out ({reason}): {'; '.join(frames[:_NAMED])}{more}"
        )
    if len(reasons) > _NAMED:
        yield f"{start}{len(reasons) - _NAMED} more reasons why structures are left out: see mae.json"


def _records(reports: Mapping[str, MaeReport]) -> list[MaeRecord]:
    """The errors of all potentials, group by group; elements are sorted by the force error, largest first."""
    found = {}
    for label, report in reports.items():
        elements = report.elements if len(report.elements) > 1 else {}
        by_error = sorted(elements, key=lambda name: -np.nan_to_num(elements[name].errors["forces"].mae))
        found[label] = {
            ("all", "all"): report.overall,
            **{("group", name): group for name, group in report.groups.items()},
            **{("element", name): elements[name] for name in by_error},
        }
    keys = dict.fromkeys(key for groups in found.values() for key in groups)
    return [
        MaeRecord(label, kind, name, groups[kind, name])
        for kind, name in sorted(keys, key=lambda key: list(_MOST_ROWS).index(key[0]))
        for label, groups in found.items()
        if (kind, name) in groups
    ]


def _shown(records: Sequence[MaeRecord]) -> list[MaeRecord]:
    """The records that a terminal shows, with a last one that says how many more there are."""
    shown = []
    for kind, most in _MOST_ROWS.items():
        names = list(dict.fromkeys(record.name for record in records if record.kind == kind))
        shown += [record for record in records if record.kind == kind and record.name in names[:most]]
        if len(names) > most:
            shown.append(MaeRecord("", kind, f"{len(names) - most} more: mae.json", None))
    return shown


def _worst_frames(label: str, report: MaeReport) -> list[WorstFrame]:
    worst = []
    for target in TARGETS:
        known = [frame for frame in report.frames if not math.isnan(frame.largest[target.name])]
        known.sort(key=lambda frame: -frame.largest[target.name])
        if target.name not in report.not_predicted:
            worst += [WorstFrame(label, target, frame) for frame in known[:_WORST]]
    return worst


def _columns(several: bool = True) -> list[Column[MaeRecord]]:
    columns: list[Column[MaeRecord]] = [
        Column("potential", shown=several, wraps=True),
        Column("kind", shown=False),
        Column("name", "MAE of", wraps=True),
    ]
    for measure in ("mae", "rmse", "count"):
        for target in TARGETS:
            columns.append(
                Column(
                    f"{target.name}_{measure}",
                    target.name,
                    unit="" if measure == "count" else target.error_unit,
                    value=partial(_value, target, measure),
                    format=".4g",
                    better=None if measure == "count" else "less",
                    shown=measure == "mae",
                )
            )
    frames = Column[MaeRecord]("frames", value=lambda record: record.errors and record.errors.structures)
    return [*columns, frames]


def _value(target: Target, measure: str, record: MaeRecord) -> float | None:
    return None if record.errors is None else getattr(record.errors.errors[target.name], measure)


def _worst_columns(several: bool = True) -> list[Column[WorstFrame]]:
    def error(worst: WorstFrame) -> float | str:
        largest = worst.frame.largest[worst.target.name]
        return largest if math.isfinite(largest) else "not finite"

    return [
        Column("potential", shown=several, wraps=True),
        Column("target", "worst frames", value=lambda worst: worst.target.name),
        Column(
            "largest_error",
            "largest error",
            value=error,
            format=lambda e: f"{e:.4g}" if e != "not finite" else e,
        ),
        Column("unit", value=lambda worst: worst.target.error_unit),
        Column("group", value=lambda worst: worst.frame.group, shown=False),
        Column("frame", value=lambda worst: worst.frame.source, wraps=True),
    ]


def _frames_csv(report: MaeReport) -> str:
    energies = ("energy_reference", "energy_predicted", "energy_error")
    header = ("source", report.group_by, "atoms", *energies, "forces_mae", "forces_max", "stress_mae")
    rows = (
        (
            frame.source,
            frame.group,
            frame.atoms,
            frame.energy_reference,
            frame.energy_predicted,
            frame.energy_error,
            frame.mae["forces"],
            frame.largest["forces"],
            frame.mae["stress"],
        )
        for frame in report.frames
    )
    return csv_text(
        header, [[str(value) for value in row] for row in rows]
    )  # as text, NaN does not become empty
