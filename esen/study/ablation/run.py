"""`esen ablate`: train and test all variants of a study, and compare them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import join, quote
from typing import Any

from rich.progress import BarColumn

from esen import __version__
from esen.errors import InputError
from esen.files import Interrupted, StopSignal, read_json, write_atomically, write_json
from esen.md.calculator import choose_device
from esen.recipe import flatten
from esen.recipe.study import TRAIN, SlurmSpec, Study
from esen.study.ablation.cells import (
    COMPARISON,
    LOG,
    SETTINGS,
    STUDY,
    Cell,
    CommandLine,
    Record,
    cells_of,
)
from esen.study.ablation.local import LocalQueue, Runner, choose_slots
from esen.study.ablation.plan import (
    NOTHING_AGAIN,
    Again,
    Plan,
    make_plan,
    mark_changed,
    move_away,
    refuse_queued,
)
from esen.study.ablation.slurm import Chain, StudyJob, queued_jobs, submit
from esen.study.ablation.tracking import StudyTracking
from esen.study.compare import Comparison, compare, read_measurements, write_comparison
from esen.study.report import finish
from esen.terminal import make_console, progress_bar
from esen.text import duration
from esen.train.progress import reporter

_STOPPING = "stopping: the running cells save their state; repeat the signal to stop at once"
_SHOWN_RUNNING = 3

Lines = Mapping[tuple[str, str], CommandLine]


@dataclass(frozen=True, eq=False)
class StudyResult:
    """How a study ended.

    Attributes:
        records: of all cells that have ended.
        failures: one line per cell that failed.
        cells: number of all cells of the study.
        comparison: of all variants; None if no cell has results.
        lines: remarks.
        paths: files that were written, by what they are.
        links: where MLflow shows the study.
        is_complete: whether no chosen cell is left out because the study has changed since.
    """

    records: Mapping[Cell, Record]
    failures: Sequence[str]
    cells: int
    comparison: Comparison | None = None
    lines: Sequence[str] = ()
    paths: Mapping[str, Path] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    is_complete: bool = True


def run_study(
    study: Study,
    output: Path,
    lines: Lines,
    *,
    runner: Runner,
    command: Sequence[str],
    chosen: Callable[[Cell], bool],
    again: Again = NOTHING_AGAIN,
    device: str = "auto",
) -> StudyResult:
    """Compute the cells that have no record, on this machine or by Slurm, and compare all that have results.

    Args:
        study: what to compute.
        output: folder of the study; that of an earlier call goes on.
        lines: by system and test, the command of the test.
        runner: runs a command of esen.
        command: with which the user resumes the study.
        chosen: which cells to compute.
        again: which cells to compute although they have ended.
        device: `auto`, `cpu` or `cuda`, for all cells.

    Raises:
        InputError: the folder holds another study, or there is no such device.
        Interrupted: by the user; everything is saved.
    """
    with StudyTracking(study, output, command=command, device=device) as tracking:
        result = _run(
            study, output, lines, tracking, runner=runner, chosen=chosen, again=again, device=device
        )
        tracking.report(
            cells=f"{len(result.records)} of {result.cells}",
            failures=len(result.failures),
            comparison=result.comparison,
            paths=[*result.paths.values(), output / STUDY],
        )
    return replace(result, links=tracking.links)


def _run(
    study: Study,
    output: Path,
    lines: Lines,
    tracking: StudyTracking,
    *,
    runner: Runner,
    chosen: Callable[[Cell], bool],
    again: Again,
    device: str,
) -> StudyResult:
    """Compute the cells and compare the variants."""
    launch = study.spec.launch
    if isinstance(launch, SlurmSpec):
        output = output.absolute()  # a job starts in another folder
    else:
        choose_device(device)
    cells = cells_of(study, output, lines, device="" if device == "auto" else device)
    claim(study, output, lines, cells)
    tracking.begin()
    plan = make_plan(cells, chosen, again)
    if isinstance(launch, SlurmSpec) and plan.replaced:
        refuse_queued(plan.replaced, queued_jobs(output))
    earlier = move_away(plan.replaced, output)
    mark_changed(cells)
    remarks = [*plan.lines, *([] if earlier is None else [f"the earlier files are in {quote(str(earlier))}"])]
    if isinstance(launch, SlurmSpec):
        remarks += _submit(launch, study, output, runner, plan, tracking, retry=again.retry)
    elif plan.work:
        slots = choose_slots(launch, device)
        with StopSignal(lambda: say(_STOPPING)) as stop, _Display(plan.work, len(slots.devices)) as shown:
            say = shown.say
            say(
                f"{len(cells)} cells, {len(plan.kept)} of them computed earlier, {len(plan.work)} to compute;"
                f" {slots.text}; into {output}"
            )
            for line in remarks:
                say(line)
            queue = LocalQueue(runner, slots, shown, tracking.variables(stop), again.retry)
            queue.run(plan.work, plan.kept, stop)
            if stop.raised:
                raise Interrupted(f"stopped; resume with: {join(tracking.command)}")
    changed = mark_changed(cells)
    records = {
        cell: record for cell in cells if cell not in changed and (record := cell.record()) is not None
    }
    failures = [
        f"{cell.name}: {record.failure} (see {quote(str(cell.folder / LOG))})"
        for cell, record in records.items()
        if record.state == "failed"
    ]
    missing = len(cells) - len(records)
    remarks += [f"{len(records)} of {len(cells)} cells have been computed"] if missing else []
    comparison, paths = None, {"study": output}
    if any(record.state == "done" for record in records.values()):
        try:
            comparison = compare(read_measurements([output]))
            paths |= write_comparison(comparison, output / COMPARISON)
        except InputError as error:  # the cells are complete without it
            remarks.append(f"no comparison: {error}")
    return StudyResult(
        records,
        failures,
        len(cells),
        comparison,
        remarks,
        finish(output, paths),
        is_complete=plan.is_complete,
    )


def _submit(
    spec: SlurmSpec,
    study: Study,
    output: Path,
    runner: Runner,
    plan: Plan,
    tracking: StudyTracking,
    *,
    retry: bool,
) -> list[str]:
    """Submit the cells to Slurm, and return what the user is told."""
    jobs: dict[Chain, StudyJob] = {}
    environment = tracking.variables() if plan.work else {}
    for chain in dict.fromkeys((cell.system, cell.variant, cell.seed) for cell in plan.work):
        mine = tuple(cell for cell in plan.work if (cell.system, cell.variant, cell.seed) == chain)
        others = {c: one for c, one in plan.kept.items() if (c.system, c.variant, c.seed) == chain}
        jobs[chain] = StudyJob(mine, others, runner, spec.cpus_per_task, environment, retry)
    if not jobs:
        return []
    queued = submit(spec, study.name, output, jobs)
    lines = [
        f"job {job}: {', '.join(filter(None, (s, v, f'seed {n}')))}" for job, (s, v, n) in queued.items()
    ]
    return [*lines, "The same command shows what has been computed, and compares it.", ""]


def claim(study: Study, output: Path, lines: Lines, cells: Sequence[Cell]) -> None:
    """Write `study.yaml` and `study.json`, which describe the study as it is now and what the folder has besides.

    Raises:
        InputError: the folder holds something else, or cells of an earlier version of esen whose settings have changed.
    """
    now = description(study, lines)
    path = output / STUDY
    if path.exists():
        before = read_json(path, f"remove {output} to compute the study anew")
        _adopt(cells, before, now, output)
        now = _with_earlier(before, now)
    elif output.is_dir() and any(output.iterdir()):
        raise InputError(
            f"{output}: the folder holds something else than a study; give another with --output"
        )
    output.mkdir(parents=True, exist_ok=True)
    write_json(path, now)  # first, because it says that the folder is that of a study
    write_atomically(output / "study.yaml", study.text)


def description(study: Study, lines: Lines) -> dict[str, Any]:
    """Return what `study.json` holds: everything that the results depend on."""
    recipes: dict[str, dict[str, Any]] = {}
    for variant in study.variants:
        first = flatten(next(iter(variant.seeds.values())))
        without = {k: v for k, v in first.items() if k != "train.seed" and not k.startswith("tracking.")}
        recipes.setdefault(variant.system, {})[variant.name] = without
    tests: dict[str, dict[str, Any]] = {system: {} for system in recipes}
    for (system, name), line in lines.items():
        tests[system][name] = {"command": line.command, "arguments": [*line.options, *line.arguments]}
    cells = {
        system: {name: [TRAIN, *(t.name for t in study.tests_of(system, name))] for name in variants}
        for system, variants in recipes.items()
    }
    return {
        "study": study.name,
        "version": __version__,
        "base": study.base,
        "systems": {v.system: {"base": str(v.recipe.absolute())} for v in study.variants},
        "variants": {variant.name: variant.changes for variant in study.variants},
        "seeds": list(study.spec.seeds),
        "tests": tests,
        "cells": cells,
        "recipes": recipes,
    }


def _with_earlier(before: Mapping[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Return the description with the variants, seeds and tests that only an earlier call had."""
    whole = {**before, **now, "seeds": sorted({*before.get("seeds", ()), *now["seeds"]})}
    for section in ("systems", "variants"):
        whole[section] = {**before.get(section, {}), **now[section]}
    for section in ("tests", "recipes", "cells"):
        earlier = before.get(section, {})
        whole[section] = {
            system: {**earlier.get(system, {}), **now[section].get(system, {})}
            for system in dict.fromkeys([*earlier, *now[section]])
        }
    for system, variants in before.get("cells", {}).items():
        for name, tests in variants.items():
            whole["cells"][system][name] = list(dict.fromkeys([*tests, *whole["cells"][system][name]]))
    return whole


def _adopt(cells: Sequence[Cell], before: Mapping[str, Any], now: Mapping[str, Any], output: Path) -> None:
    """Keep the settings of cells that were begun before cells kept their own. `study.json` has the same ones.

    Raises:
        InputError: they have changed since.
    """
    found = [cell for cell in cells if cell.has_files and not (cell.folder / SETTINGS).exists()]
    if found and (changed := _changed(before, now)):
        raise InputError(
            f"{output}: {changed}, and the folder is of an earlier version of esen, which cannot compute single"
            " cells again; give another folder with --output"
        )
    for cell in found:
        cell.keep([str(before["version"])] if "version" in before else [])


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The first difference between two descriptions in what both have; None if there is none."""
    for section, what in (("recipes", "variant"), ("tests", "test")):
        for system, entries in now[section].items():
            earlier = before.get(section, {}).get(system, {})
            for name, entry in entries.items():
                old = earlier.get(name, entry)
                if old == entry:
                    continue
                where = f"{what} {name}" + (f" of {system}" if system else "")
                keys = [key for key in sorted({*old, *entry}) if old.get(key) != entry.get(key)]
                return f"{where} had {keys[0]} {old.get(keys[0])!r}, and now has {entry.get(keys[0])!r}"
    return None


class _Display:
    """Shows cells done, running, and the time left: a line per cell, and a bar on a terminal.

    Args:
        cells: to compute.
        at_a_time: cells that run at a time.
    """

    def __init__(self, cells: Sequence[Cell], at_a_time: int) -> None:
        self.console = make_console()
        self._left = list(cells)
        self._at_a_time = at_a_time
        self._seconds: dict[str, list[float]] = {}
        self._bar = progress_bar(
            "{task.completed:.0f} of {task.total:.0f} cells",
            BarColumn(20),
            "{task.fields[rest]}",
            on=self.console,
        )
        self._task = self._bar.add_task("", total=len(cells), rest="")
        self.say = reporter(self.console)
        self._next = 0.0

    def __enter__(self) -> "_Display":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def started(self, cell: Cell) -> None:
        """See `Watcher`."""
        if not self.console.is_terminal:
            self.say(f"started: {cell.name}")

    def ended(self, cell: Cell, record: Record) -> None:
        """See `Watcher`."""
        self._seconds.setdefault(_kind(cell), []).append(record.seconds)
        said = "done" if record.state == "done" else f"FAILED: {record.failure}"
        self._finish(cell, f"{cell.name}: {said} ({duration(record.seconds)})")

    def skipped(self, cell: Cell) -> None:
        """See `Watcher`."""
        self._finish(cell, f"{cell.name}: left out, because its training failed")

    def tick(self, running: Sequence[Cell]) -> None:
        """See `Watcher`."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 1
        names = [cell.name for cell in running[:_SHOWN_RUNNING]]
        more = ["…"] if len(running) > _SHOWN_RUNNING else []
        left = self.seconds_left()
        words = [] if left is None else [f"about {duration(left)} left"]
        self._bar.update(self._task, rest="; ".join([*words, *names, *more]))

    def seconds_left(self) -> float | None:
        """Estimate the time left by the mean of the cells of a kind; None before each kind has a cell that ended."""
        known = {kind: sum(times) / len(times) for kind, times in self._seconds.items()}
        if not all(_kind(cell) in known for cell in self._left):
            return None
        return sum(known[_kind(cell)] for cell in self._left) / self._at_a_time

    def _finish(self, cell: Cell, line: str) -> None:
        self._left.remove(cell)
        self.say(line)
        self._bar.advance(self._task)


def _kind(cell: Cell) -> str:
    return f"{cell.system}/{cell.test}"
