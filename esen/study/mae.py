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
from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn

from esen.data.checks import check_structure
from esen.data.readers import Reading, load_structures
from esen.data.structure import Structure
from esen.data.targets import STRESS, TARGETS, Target, listed
from esen.errors import InputError
from esen.evaluate.mae import evaluate_mae
from esen.evaluate.report import GroupErrors, MaeReport
from esen.files import RESULT, csv_text, write_atomically
from esen.graph.types import Potential
from esen.recipe import SourceSpec
from esen.study.overlap import geometries_of, overlap_line, trained_on
from esen.study.plots.parity import parity_plot
from esen.study.potentials import PotentialOptions, file_name, potential_sources, resolve_all
from esen.study.report import finish
from esen.study.table import Column, Table, write_result
from esen.terminal import progress_bar
from esen.text import first_few
from esen.track import NullTracker, Tracker

_MOST_ROWS = {"all": 1, "group": 40, "element": 12}
"""Rows of each kind that a terminal shows for each potential."""
_WORST = 3
"""Worst frames that are named for each target; a table of several potentials shows the first."""
_NAMED = 3
"""Frames, and reasons, that a warning names."""

Row = dict[str, str | float | int | None]

logger = logging.getLogger(__name__)


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
    """One of the frames on which a potential has its largest errors of a target.

    Attributes:
        potential: Label of the potential.
        target: Name of the target.
        rank: 1 for the frame with the largest error.
        largest_error: Largest error of a component; `not finite` if a prediction is not.
        unit: Its unit.
        group: Group of the frame.
        frame: File and number of the frame.
    """

    potential: str
    target: str
    rank: int
    largest_error: float | str
    unit: str
    group: str
    frame: str


@dataclass(frozen=True, eq=False)
class MaeResult:
    """What `esen mae` prints, and the files that it has written.

    Attributes:
        table: Errors on all frames, and on each group and element.
        worst: The frames with the largest errors.
        paths: Files by what they hold.
        reports: Everything that was found, by label of the potential.
        failures: Why a potential has no errors, by its label.
    """

    table: Table[MaeRecord]
    worst: Table[WorstFrame]
    paths: dict[str, Path]
    reports: dict[str, MaeReport]
    failures: dict[str, str]


def run_mae(
    potentials: Sequence[str],
    sources: Sequence[SourceSpec],
    *,
    output: Path,
    reading: Reading | None = None,
    batch_atoms: int = 256,
    group_by: str | None = None,
    tracker: Tracker | None = None,
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
        batch_atoms: Largest number of atoms that are predicted together; an ASE calculator takes one frame at a time.
        group_by: Key of a frame's `info` whose values divide the frames into groups; None: `config_type`, where
            frames have it.
        tracker: Of the test.
        **how: Options of `resolve_all`; a checkpoint keeps the precision of its weights if no dtype is given.

    Raises:
        InputError: A potential or the frames cannot be read; a frame is impossible (`check_structure`); no frame has a
            label, or the key of the groups; no potential can predict a frame; or the files cannot be written.
    """
    reading, tracker = reading or Reading(required=()), tracker or NullTracker()
    resolved = resolve_all(potentials, how, default_dtype=None)
    structures = load_structures(sources, reading)
    for structure in structures:
        check_structure(structure, len(chemical_symbols))  # each potential checks its own elements later
    _check_labels(structures, group_by)
    several = len(resolved) > 1
    reports: dict[str, MaeReport] = {}
    paths: dict[str, Path] = {}
    failures: dict[str, str] = {}
    for label, one in resolved.items():
        try:
            reports[label] = evaluate_with_progress(
                one.potential,
                structures,
                label=label if several else "",
                batch_atoms=batch_atoms if one.calculator is None else 1,
                device=one.device,
                elements=one.possible_elements,
                group_by=group_by or "config_type",
            )
        except InputError as error:
            if label == list(resolved)[-1] and not reports:
                raise
            failures[label] = str(error)
            logger.error("%s: %s", label, error)  # the other potentials are still compared
            continue
        written = write_mae(reports[label], output / file_name(label) if several else output)
        paths |= {f"{name}, {label}" if several else name: path for name, path in written.items()}
    named = potential_sources(potentials, how)
    repeated = {label: _repeated(named[label].path, structures, label) for label in reports}
    records = _records(reports)
    worst = [frame for label, report in reports.items() for frame in _worst_frames(label, report)]
    paths |= {"errors of all groups": output / "errors.csv", "result": output / RESULT}
    with _writing(output):
        write_atomically(output / "errors.csv", Table(_columns(), records).csv())
        write_result(
            output,
            "mae",
            potentials={
                label: replace(source, dtype=resolved[label].dtype) for label, source in named.items()
            },
            settings={
                "sources": [source.model_dump(exclude_defaults=True) for source in sources],
                "labels": asdict(reading),
                "batch_atoms": batch_atoms,
                "group_by": group_by,
            },
            table=Table(_columns(), records),
            worst_frames=Table(_worst_columns(), worst),
            left_out={label: [asdict(one) for one in report.left_out] for label, report in reports.items()},
            also_trained_on={label: sources for label, sources in repeated.items() if sources is not None},
            failures=failures,
        )
    tracker.params({"data": [source.path for source in sources], "group_by": group_by})
    for label, report in reports.items():
        tracker.of(label).metrics({f"mae/{key}": value for key, value in mae_metrics(report).items()}, 0)
    paths = finish(output, paths, tracker)
    return MaeResult(
        table=Table(_columns(several), _shown(records)),
        worst=Table(_worst_columns(several), [one for one in worst if one.rank == 1 or not several]),
        paths=paths,
        reports=reports,
        failures=failures,
    )


def _repeated(weights: Path | None, structures: Sequence[Structure], label: str) -> list[str] | None:
    """Return the sources of frames that a run was trained on, and warn of them; None if that is not known."""
    keys = None if weights is None else geometries_of(weights)
    if keys is None:
        return None
    repeated = trained_on(structures, keys)
    if line := overlap_line(repeated, len(structures), "structures"):
        logger.warning("%s: %s", label, line)
    return repeated


def evaluate_with_progress(
    potential: Potential,
    structures: Sequence[Structure],
    *,
    label: str = "",
    trained: bool = False,
    **options: Any,
) -> MaeReport:
    """Run `evaluate_mae` under a progress bar, and warn of what is in no mean and of errors that follow a trend.

    Args:
        potential: As `evaluate_mae` takes it.
        structures: As `evaluate_mae` takes them.
        label: Name of the potential in the warnings, if there are several.
        trained: Whether the potential has just been trained; then the warnings say what to change in the recipe.
        **options: Further arguments of `evaluate_mae`.

    Raises:
        InputError: As `evaluate_mae`.
    """
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with progress_bar(*columns) as bar:
        task = bar.add_task(label or "evaluating", total=len(structures))
        report = evaluate_mae(
            potential, structures, progress=lambda done: bar.update(task, completed=done), **options
        )
    for remark in (*_remarks(report, structures), *_trends(report, advise=trained)):
        logger.warning("%s%s", f"{label}: " if label else "", remark)
    return report


def mae_rows(report: MaeReport) -> list[Row]:
    """Return the table of one potential: all frames, every group, and the elements, the largest force error first."""
    columns = [column for column in _columns(several=False) if column.shown]
    return [
        {column.heading: column.of(record) for column in columns} for record in _shown(_records({"": report}))
    ]


def mae_metrics(report: MaeReport) -> dict[str, float]:
    """Return the errors on all frames for MLflow, with units in their names."""
    return Table(_columns(), []).metrics(_records({"": report})[0])


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
            f"--group-by {group_by}: no frame has this key; frames have {', '.join(keys) or 'none'}"
        )


def _remarks(report: MaeReport, structures: Sequence[Structure]) -> Iterator[str]:
    """Yield a line for everything that is in no mean. That molecules have no stress goes without saying."""
    total = len(report.frames) + len(report.left_out)
    molecules = not any(structure.pbc.any() for structure in structures)
    for name, count in report.missing.items():
        if count and not (molecules and name == STRESS.name):
            why = "; that of a file counts only in cells with three periods" if name == STRESS.name else ""
            yield f"{name}: {count} of {total} structures have no reference{why}"
    for name, count in report.not_finite.items():
        if name in report.not_predicted:
            yield f"{name}: the potential predicts none (NaN for each of {count} structures)"
        elif count:
            yield f"{name}: {count} of {total} structures have a NaN or infinite prediction, which is in no mean"
    by_reason: dict[str, list[str]] = {}
    for one in report.left_out:
        by_reason.setdefault(one.reason, []).append(one.source)
    for reason, frames in list(by_reason.items())[:_NAMED]:
        named = first_few(frames, _NAMED, "; ")
        yield f"{len(frames)} of {total} structures are left out ({reason}): {named}"
    if len(by_reason) > _NAMED:
        yield f"{len(by_reason) - _NAMED} more reasons why structures are left out: see mae.json"


def _trends(report: MaeReport, *, advise: bool) -> Iterator[str]:
    """Yield a line for every error that follows a trend, with what to change in the recipe."""
    if (trend := report.volume_trend) is not None:
        side = "higher" if trend.modulus_error > 0 else "lower"
        advice = "; train with larger batches, for example train.batch: {structures: 8}, or a larger train.loss.stress"
        yield (
            f"the stress error depends on the volume: the bulk modulus is {abs(trend.modulus_error):.3g} ±"
            f" {trend.uncertainty:.1g} GPa {side} than that of the labels ({trend.share:.0%} of the variance of the"
            f" isotropic stress error of {trend.structures} structures)" + (advice if advise else "")
        )
    if (found := report.composition_trend) is not None:
        (low, least), (high, most) = found.lowest, found.highest
        advice = (
            "; fit the reference energies to these frames (data.references: least_squares), or train longer"
        )
        yield (
            f"the energy error depends on the composition: {most:+.3g} meV per atom of {high}, {least:+.3g} of {low}"
            f" ({found.share:.0%} of its variance over {found.structures} structures)"
            + (advice if advise else "")
        )


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


def _worst_frames(label: str, report: MaeReport) -> Iterator[WorstFrame]:
    for target in TARGETS:
        if target.name in report.not_predicted:
            continue
        known = [frame for frame in report.frames if not math.isnan(frame.largest[target.name])]
        known.sort(key=lambda frame: -frame.largest[target.name])
        for rank, frame in enumerate(known[:_WORST], start=1):
            error = frame.largest[target.name]
            largest = error if math.isfinite(error) else "not finite"
            yield WorstFrame(label, target.name, rank, largest, target.error_unit, frame.group, frame.source)


def _columns(several: bool = True) -> list[Column[MaeRecord]]:
    errors: list[Column[MaeRecord]] = [
        Column(
            f"{target.name}_{measure}",
            target.name,
            unit="" if measure == "count" else target.error_unit,
            value=partial(_value, target, measure),
            format=".4g",
            better=None if measure == "count" else "less",
            shown=measure == "mae",
            tracked=measure != "count",
        )
        for measure in ("mae", "rmse", "count")
        for target in TARGETS
    ]
    return [
        Column("potential", shown=several, wraps=True),
        Column("kind", shown=False),
        Column("name", "MAE of", wraps=True),
        *errors,
        Column("frames", value=lambda record: record.errors and record.errors.structures),
    ]


def _value(target: Target, measure: str, record: MaeRecord) -> float | None:
    return None if record.errors is None else getattr(record.errors.errors[target.name], measure)


def _worst_columns(several: bool = True) -> list[Column[WorstFrame]]:
    return [
        Column("potential", shown=several, wraps=True),
        Column("target", "worst frames"),
        Column("rank", shown=False),
        Column("largest_error", "largest error", format=lambda e: e if isinstance(e, str) else f"{e:.4g}"),
        Column("unit"),
        Column("group", shown=False),
        Column("frame", wraps=True),
    ]


def _frames_csv(report: MaeReport) -> str:
    """One row per frame; NaN is written as `nan`, because an empty cell could mean anything."""
    rows = [
        {
            "source": frame.source,
            report.group_by: frame.group,
            "atoms": frame.atoms,
            "energy_reference": frame.energy_reference,
            "energy_predicted": frame.energy_predicted,
            "energy_error": frame.energy_error,
            "forces_mae": frame.mae["forces"],
            "forces_max": frame.largest["forces"],
            "stress_mae": frame.mae["stress"],
        }
        for frame in report.frames
    ]
    return csv_text(list(rows[0]), [[str(value) for value in row.values()] for row in rows])
