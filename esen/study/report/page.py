"""What a report has: the verdict first, then tables, figures, the recipe, and how to compute it again."""

import csv
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from esen import __version__
from esen.data.targets import TARGETS
from esen.errors import InputError
from esen.files import RESULT, read_json, write_atomically
from esen.study.ablation.cells import RECORD, STUDY
from esen.study.report.figures import Figure, find_figures
from esen.study.report.recipe import recipe_of
from esen.study.report.sheet import (
    Cell,
    Mark,
    Sheet,
    all_quantities,
    listing,
    main_sheet,
    mark_of,
    sheet_of,
    verdicts,
)
from esen.study.report.stored import (
    REPORT,
    StoredCell,
    StoredComparison,
    StoredResult,
    StoredTable,
    is_table,
    named,
    read_stored,
    tables_of,
)
from esen.study.report.study import address, study_state
from esen.text import duration, first_few, printable_lines, without_secrets

COMPARISON = "comparison.json"
_TEMPLATE = Path(__file__).with_name("report.html.j2")
_SUMMARY, _TRACKING, _METRICS, _ERRORS, _FRAMES = (
    "summary.json",
    "tracking.json",
    "metrics.csv",
    "mae.json",
    "mae.csv",
)
_RECOGNISED = (STUDY, COMPARISON, RESULT, _SUMMARY, "recipe.yaml")
_MOST_FILES = 100
_WORST = 3


@dataclass
class Page:
    """The content of a report, filled in from the files of a folder one after the other.

    Attributes:
        title: What was done, with what.
        summary: The verdict in one sentence.
        mark: Whether it is good or bad news.
        remarks: What a reader has to know beside it.
        results: Tables of results.
        figures: Images.
        figures_note: Which images are not on the page.
        recipe: Tables of the recipe of a training.
        recipe_note: What is not known of it.
        settings: Everything else that the numbers depend on.
        commands: What computes the results again, after what each does.
        versions: With what they were computed.
        files: The files of the folder.
    """

    title: str = ""
    summary: str = ""
    mark: Mark = ""
    remarks: list[str] = field(default_factory=list)
    results: list[Sheet] = field(default_factory=list)
    figures: Sequence[Figure] = ()
    figures_note: str = ""
    recipe: Sequence[Sheet] = ()
    recipe_note: str = ""
    settings: list[Sheet] = field(default_factory=list)
    commands: list[tuple[str, str]] = field(default_factory=list)
    versions: dict[str, Any] = field(default_factory=dict)
    files: Sheet | None = None


def write_report(folder: Path) -> Path:
    """Write `report.html` of a folder that a command wrote, from its content alone.

    Args:
        folder: Of a training, a test, a study or a comparison.

    Returns:
        The path of the page.

    Raises:
        InputError: The folder does not exist, holds no results, or a file of it is damaged.
        OSError: The page cannot be written.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: expected a folder of results, but this is {'a file' if folder.exists() else 'not there'}"
        )
    page = _page(folder)
    write_atomically(folder / REPORT, _render(page))
    return folder / REPORT


def _page(folder: Path) -> Page:
    if not any((folder / name).is_file() for name in _RECOGNISED):
        raise InputError(f"{folder}: holds no results; expected one of {', '.join(_RECOGNISED)}")
    page = Page()
    if (folder / STUDY).is_file():
        _add_study(page, folder)
    if comparison := named(folder, (COMPARISON, f"comparison/{COMPARISON}")):
        _add_comparison(page, comparison)
    if (folder / RESULT).is_file():
        _add_result(page, folder)
    if any((folder / name).is_file() for name in ("recipe.yaml", _SUMMARY)):
        _add_training(page, folder)
    if (folder / RECORD).is_file():
        _add_cell(page, read_stored(folder / RECORD, StoredCell))
    page.figures, page.figures_note = find_figures(folder, frozenset({"comparison"}))
    page.commands.append(("Make this page again", shlex.join(["esen", "report", str(folder)])))
    page.files = _files(folder)
    return page


def _add_result(page: Page, folder: Path) -> None:
    """Add what `result.json` has, which is the same for all commands."""
    path = folder / RESULT
    result = read_stored(path, StoredResult)
    further = tables_of(result, path)
    main = main_sheet("Overview", result, RESULT)
    page.results.append(main)
    page.results += [main_sheet(_words(name), one, RESULT) for name, one in further.items() if one.rows]
    page.results += all_quantities("All quantities", result, RESULT)
    page.title = f"esen {result.command}: {first_few(list(result.potentials))}".removesuffix(": ")
    page.summary, page.mark = _summary(result)
    extra = {name: value for name, value in (result.model_extra or {}).items() if not is_table(value)}
    page.remarks += _remarks(extra)
    if extra := {name: value for name, value in extra.items() if value not in ([], {}, None, "")}:
        page.results.append(listing("Further results", extra, folded=True, whole=RESULT))
    page.settings.append(_potentials(result.potentials))
    page.settings.append(listing("Settings", result.settings, whole=RESULT))
    environment = dict(result.environment)
    command, place = environment.pop("command", None), environment.pop("folder", None)
    if command and result.command != "train":  # a run knows its recipe, also where it was resumed
        words = [str(part) for part in command if part not in ("--resume", "--retry")]
        page.commands.append((f"Compute the results (in {place})", without_secrets(shlex.join(words))))
    page.versions["esen"] = result.version
    page.versions |= {name: value for name, value in environment.items() if value is not None}


def _summary(result: StoredResult) -> tuple[str, Mark]:
    """Return the verdict of a result in one sentence."""
    extra = result.model_extra or {}
    if isinstance(words := extra.get("verdict"), str):
        return words.splitlines()[0], "good" if extra.get("holds", True) else "bad"
    if counts := verdicts(result):
        total = sum(counts.values())
        words = first_few([f"{count} of {total} {verdict}" for verdict, count in counts.most_common()], 4)
        marks = [mark_of(verdict) for verdict in counts]
        return f"{words}.", min(marks, key=("bad", "doubtful", "", "good").index)
    failures = extra.get("failures") or {}
    failed = f"{len(failures)} of {len(result.potentials)} potentials failed; " if failures else ""
    overall = [row for row in result.rows if row.get("kind") == "all"] or result.rows[:1]
    errors = [
        _named(row.get("potential"), len(result.potentials), _first_numbers(result, row))
        for row in overall[:3]
    ]
    return failed + (
        "; ".join(filter(None, errors)) or f"{len(result.rows)} results"
    ) + ".", "bad" if failed else ""


def _named(potential: Any, potentials: int, words: str) -> str:
    return f"{potential}: {words}" if potentials > 1 and words else words


def _first_numbers(table: StoredTable, row: Mapping[str, Any]) -> str:
    """The first three numbers of a row that have a unit."""
    found = [
        f"{column.name.replace('_', ' ').replace('mae', 'MAE')} {row[column.name]:.4g} {column.unit}"
        for column in table.columns
        if column.unit and isinstance(row.get(column.name), int | float)
    ]
    return ", ".join(found[:3])


def _remarks(extra: Mapping[str, Any]) -> list[str]:
    """Return what a command remarks, and the consequences of a verdict."""
    lines = [str(line) for line in extra.get("remarks") or ()]
    if isinstance(words := extra.get("verdict"), str):
        lines += [line.removeprefix("- ") for line in words.splitlines()[1:]]
    failures = extra.get("failures")
    lines += (
        [f"{label}: {reason}" for label, reason in failures.items()] if isinstance(failures, dict) else []
    )
    return lines


def _potentials(potentials: Mapping[str, Mapping[str, Any]]) -> Sheet:
    """Return what identifies each potential."""
    keys = list(dict.fromkeys(key for one in potentials.values() for key in one if key != "label"))
    rows = [[label, *(one.get(key) for key in keys)] for label, one in potentials.items()]
    return sheet_of("Potentials", ["potential", *keys], rows, whole=RESULT)


def _add_training(page: Page, folder: Path) -> None:
    """Add the recipe of a run, its errors, and its validations."""
    recipe = recipe_of(folder)
    tracked = _read(folder / _TRACKING)
    name = tracked.get("name") or (recipe.name if recipe else "") or folder.resolve().name
    page.title = page.title if page.title and not page.title.startswith("esen train") else f"Training: {name}"
    summary = _read(folder / _SUMMARY)
    done = [
        f"{summary[key]} steps" if key == "steps" else f"in {duration(summary[key])}"
        for key in ("steps", "seconds")
        if key in summary
    ]
    errors = _read(folder / _ERRORS)
    if errors:
        page.results.append(_errors_by_group(errors))
    of = next((of for of in ("test", "validation") if of in summary), "test")
    if overall := errors.get("overall"):
        units = errors.get("units", {})
        values = [
            f"{target} {one['mae']:.4g} {units.get(target, '')}"
            for target, one in overall.items()
            if _is_number(one.get("mae"))
        ]
        page.summary = f"{of.capitalize()} MAE: {', '.join(values)}; {' '.join(done)}."
    elif not page.summary:
        page.summary = f"Trained: {' '.join(done)}." if done else "The training is not finished."
        page.mark = "" if done else "doubtful"
    if (worst := _worst_frames(folder / _FRAMES)) is not None and (folder / "recipe.yaml").is_file():
        page.results.append(worst)
    if (folder / _METRICS).is_file():
        page.results.append(_validations(folder / _METRICS))
    if recipe is not None:
        page.recipe, page.recipe_note = recipe.sheets, recipe.note
        if recipe.command:
            page.commands.append(("Train by the same recipe and changes", recipe.command))
        again = shlex.join(["esen", "train", str(folder / "recipe.yaml"), "--output", "NEW-FOLDER"])
        page.commands.append(("Train by the recipe with all of its defaults", again))
    if tracked:
        page.settings.append(listing("Tracked run", tracked))


def _errors_by_group(errors: Mapping[str, Any]) -> Sheet:
    """Return the errors of a training on all frames, and on each group and element."""
    units = errors.get("units", {})
    groups = {"all": errors["overall"], **errors.get("config_types", {}), **errors.get("elements", {})}
    heads = ["MAE of", *(f"{name} ({unit})" for name, unit in units.items())]
    rows = [[group, *(one.get(target, {}).get("mae") for target in units)] for group, one in groups.items()]
    return sheet_of("Errors", heads, rows, whole=_ERRORS)


def _worst_frames(path: Path) -> Sheet | None:
    """Return the frames with the largest errors of each target."""
    if not path.is_file():
        return None
    frames = _rows(path)
    found = []
    for target in TARGETS:
        key = next(
            (
                f"{target.name}_{kind}"
                for kind in ("max", "error", "mae")
                if frames and f"{target.name}_{kind}" in frames[0]
            ),
            "",
        )
        known = [
            (abs(value), frame["source"])
            for frame in frames
            if (value := _number(frame.get(key))) is not None
        ]
        for error, source in sorted(known, key=lambda pair: -pair[0])[:_WORST]:
            found.append([key.replace("_", " "), error, target.error_unit, source])
    return sheet_of("Worst frames", ["error of a frame", "value", "unit", "frame"], found) if found else None


def _validations(path: Path) -> Sheet:
    """Return the metrics of all validations, with units."""
    rows = _rows(path)
    units = {f"{target.name}_mae": target.error_unit for target in TARGETS}
    names = list(rows[0]) if rows else []
    heads = [
        f"{name}{''.join(f' ({unit})' for key, unit in units.items() if name.endswith(key))}".replace(
            "_", " "
        )
        for name in names
    ]
    values = [[_number(row[name]) if row[name] else None for name in names] for row in rows]
    return sheet_of("Validations", heads, values, whole=_METRICS, folded=True)


def _add_cell(page: Page, one: StoredCell) -> None:
    """Say which cell of a study this is."""
    system = f"{one.system}, " if one.system else ""
    page.remarks.insert(
        0, f"Cell of the study {one.study}: {system}{one.variant}, seed {one.seed}, {one.test}: {one.state}."
    )
    if one.outdated:
        page.remarks.insert(1, f"The study has changed since: {one.outdated}.")
    if one.versions:
        page.versions["esen of the cell"] = "; ".join(one.versions)
    if one.failure:
        page.remarks.insert(1, one.failure)
        page.mark = "bad"
    if one.argv and not page.commands:
        words = one.argv if one.argv[0] == "esen" else ["esen", *one.argv]
        page.commands.append(("Compute the results", without_secrets(shlex.join(words))))


def _add_study(page: Page, folder: Path) -> None:
    state = study_state(folder)
    page.title = f"Study: {state.study.study}"
    page.summary, page.mark = state.summary, state.mark
    page.results += state.sheets
    variants = [[name, changes] for name, changes in state.study.variants.items()]
    page.settings.append(sheet_of("Variants", ["variant", "differs from the base by"], variants, whole=STUDY))
    tests = {
        f"{system}, {name}" if system else name: shlex.join(
            ["esen", test.command, "POTENTIAL", *test.arguments]
        )
        for system, mine in state.study.tests.items()
        for name, test in mine.items()
    }
    page.settings.append(listing("Tests", tests))
    page.versions["esen"] = state.study.version
    command = ["esen", "ablate", str(folder / "study.yaml"), "--output", str(folder)]
    page.commands.append(("Resume the study, or give a new folder to compute it again", shlex.join(command)))


def _add_comparison(page: Page, path: Path) -> None:
    """Add the tables of a comparison, before the cells of its study."""
    comparison = read_stored(path, StoredComparison)
    page.results[:0] = [main_sheet(title, one, COMPARISON) for title, one in comparison.tables.items()]
    page.title = page.title or "Comparison"
    potentials = sum(variant.n for variant in comparison.variants)
    page.summary = (
        page.summary or f"{len(comparison.variants)} variants compared over {potentials} potentials."
    )
    page.remarks += comparison.remarks + comparison.notes
    page.versions.setdefault("esen", comparison.version)


def _files(folder: Path) -> Sheet:
    """Return the files of the folder, with links."""
    rows = []
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name)):
        if path.name.startswith(".") or path.name == REPORT:
            continue
        count = sum(1 for inner in path.rglob("*") if inner.is_file()) if path.is_dir() else 0
        size = f"{count} files" if path.is_dir() else _size(path.stat().st_size)
        name = f"{path.name}/" if path.is_dir() else path.name
        rows.append([Cell(name, link=address(path, folder)), Cell(size, number=True)])
    sheet = sheet_of("Files", ["file", "size"], rows[:_MOST_FILES])
    more = len(rows) - _MOST_FILES
    return replace(sheet, note=f"{more} more files are in the folder.") if more > 0 else sheet


def _size(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", errors="backslashreplace", newline="") as file:
        return list(csv.DictReader(file))


def _read(path: Path) -> dict[str, Any]:
    return read_json(path, "remove it") if path.is_file() else {}


def _number(text: str | None) -> float | int | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return (
        int(value)
        if value.is_integer() and "." not in (text or "")
        else value
        if math.isfinite(value)
        else None
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _words(name: str) -> str:
    return name[:1].upper() + name[1:].replace("_", " ")


def _render(page: Page) -> str:
    """Return the page in HTML. All text is escaped, and control characters are shown by their code."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable_lines(value) if type(value) is str else value,
    )
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return template.render(page=page, made=made, version=__version__)
