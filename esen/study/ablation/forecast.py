"""`esen ablate --dry-run`: the cells of a study and the time that they would take. Nothing is written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esen.recipe.advice import missing_data
from esen.recipe.study import LocalSpec, Study
from esen.study.ablation.cells import Cell, CommandLine, Record, cells_of
from esen.study.ablation.local import choose_slots
from esen.study.ablation.plan import NOTHING_AGAIN, Again, make_plan
from esen.study.forecast import forecast_training
from esen.study.tracked import parameters_of
from esen.text import duration
from esen.threads import use_threads

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class StudyForecast:
    """What a study would compute.

    Attributes:
        tables: of the variants, and of the cells by test.
        lines: the total, and what is not known.
    """

    tables: tuple[list[Row], list[Row]]
    lines: list[str]


def forecast_study(
    study: Study,
    output: Path,
    lines: Mapping[tuple[str, str], CommandLine],
    chosen: Callable[[Cell], bool],
    *,
    again: Again = NOTHING_AGAIN,
    device: str = "auto",
) -> StudyForecast:
    """Forecast the time of the cells that are not computed yet: of trainings from a step or two of each variant.

    The time of a test is the mean of those of the same test that the folder holds.

    Args:
        study: what would be computed.
        output: folder of the study.
        lines: by system and test, the command of the test.
        chosen: which cells are computed.
        again: which cells are computed although they have ended.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        InputError: a recipe or its data cannot be used; missing data are only reported.
    """
    launch = study.spec.launch
    if isinstance(launch, LocalSpec):
        slots = choose_slots(launch, device)
        where, at_a_time = slots.text, len(slots.devices)
        use_threads(slots.threads)
    else:
        at_a_time = launch.array_parallelism
        where = f"one job of a Slurm array per variant and seed, {at_a_time} at a time"
    everything = cells_of(study, output, lines)
    plan = make_plan(everything, chosen, again)
    cells, work = plan.needed, plan.work
    records = {cell: record for cell in everything if (record := cell.record()) is not None}
    rows: list[Row] = []
    seconds: dict[tuple[str, str], float | None] = {}
    for variant in study.variants:
        recipe = next(iter(variant.seeds.values()))
        count = sum(c.is_training for c in cells if (c.system, c.variant) == (variant.system, variant.name))
        if not count:
            continue
        row: Row = {"variant": variant.name, "changes": ", ".join(variant.settings(0)[:-1]) or "–"}
        row |= {"parameters": parameters_of(recipe), "time of a step": None, "time of a training": None}
        known = None
        if not missing_data(recipe, variant.recipe.parent):
            forecast = forecast_training(recipe, device=device, quiet=True)
            known = forecast.seconds
            step = known / max(1, forecast.steps)
            row |= {"time of a step": duration(step), "time of a training": duration(known)}
        seconds[variant.system, variant.name] = known
        rows.append(({"system": variant.system} if variant.system else {}) | row)
    by_test = _by_test(cells, work, records, seconds)
    return StudyForecast((rows, by_test), [*plan.lines, *_total(by_test, len(cells), where, at_a_time)])


def _by_test(
    cells: Sequence[Cell],
    work: Sequence[Cell],
    records: Mapping[Cell, Record],
    trainings: Mapping[tuple[str, str], float | None],
) -> list[Row]:
    """One row per test: cells in all and to compute, and the seconds that these take; None if not known."""
    rows: list[Row] = []
    for system, test in dict.fromkeys((cell.system, cell.test) for cell in cells):
        mine = [cell for cell in cells if (cell.system, cell.test) == (system, test)]
        left = [cell for cell in mine if cell in work]
        done = [
            record.seconds
            for cell, record in records.items()
            if (cell.system, cell.test) == (system, test) and record.state == "done"
        ]
        mean = sum(done) / len(done) if done else None
        times = [trainings[cell.system, cell.variant] if cell.is_training else mean for cell in left]
        total = None if any(time is None for time in times) else sum(time or 0.0 for time in times)
        row: Row = {"system": system} if system else {}
        rows.append(row | {"test": test, "cells": len(mine), "to compute": len(left), "seconds": total})
    return rows


def _total(rows: list[Row], cells: int, where: str, at_a_time: int) -> list[str]:
    """The sum of what is known, and what is not; puts times into words."""
    known = sum(row["seconds"] or 0.0 for row in rows)
    unknown = [str(row["test"]) for row in rows if row["seconds"] is None]
    for row in rows:
        found = row.pop("seconds")
        row["time on one"] = None if found is None else duration(found)
    lines = [f"{cells} cell{'s' * (cells != 1)}, {where}"]
    if known:
        lines.append(f"time in all: about {duration(known / at_a_time)}")
    if unknown:
        names = ", ".join(dict.fromkeys(unknown))
        lines.append(f"not known until a cell of the study has run: the time of {names}")
    return lines
