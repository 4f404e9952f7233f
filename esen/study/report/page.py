"""What a report has: the verdict first, then tables, figures, the recipe, and how to compute it again."""

import csv
import math
import shlex
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from esen import __version__
from esen.data.targets import TARGETS
from esen.errors import InputError
from esen.files import RESULT, read_json, write_atomically
from esen.study.ablation.cells import RECORD, STUDY
from esen.study.report.content import Page
from esen.study.report.figures import find_figures
from esen.study.report.recipe import add_recipe
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
    parse_stored,
    read_stored,
    shown_key,
)
from esen.study.report.study import add_study, address
from esen.text import duration, first_few, printable_lines, without_secrets

COMPARISON = "comparison.json"
_TEMPLATE = Path(__file__).with_name("report.html.j2")
_SUMMARY = "summary.json"
_TRACKING = "tracking.json"
_METRICS = "metrics.csv"
_ERRORS = "mae.json"
_FRAMES = "mae.csv"
_RECOGNISED = (STUDY, COMPARISON, RESULT, _SUMMARY, "recipe.yaml")
_MOST_FILES = 100
_WORST = 3


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
        add_study(page, folder)
    for path in (folder / COMPARISON, folder / "comparison" / COMPARISON):
        if path.is_file():
            _add_comparison(page, read_stored(path, StoredComparison))
            break
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
    tables = {name: one for name, one in (result.model_extra or {}).items() if is_table(one)}
    page.results.append(main_sheet("Overview", result, RESULT))
    for name, one in tables.items():
        table = parse_stored(path, one, StoredTable)
        page.results += [main_sheet(_words(name), table, RESULT)] if table.rows else []
    page.results += all_quantities("All quantities", result, RESULT)
    page.title = f"esen {result.command}: {first_few(list(result.potentials))}".removesuffix(": ")
    page.summary, page.mark = _summary(result)
    extra = {name: one for name, one in (result.model_extra or {}).items() if name not in tables}
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
    several = len(result.potentials)
    failed = f"{len(failures)} of {several} potentials failed; " if failures else ""
    found = []
    for row in ([row for row in result.rows if row.get("kind") == "all"] or result.rows[:1])[:3]:
        if words := _first_numbers(result, row):
            found.append(f"{row.get('potential')}: {words}" if several > 1 else words)
    return f"{failed}{'; '.join(found) or f'{len(result.rows)} results'}.", "bad" if failed else ""


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
    if isinstance(failures := extra.get("failures"), dict):
        lines += [f"{label}: {reason}" for label, reason in failures.items()]
    return lines


def _potentials(potentials: Mapping[str, Mapping[str, Any]]) -> Sheet:
    """Return what identifies each potential."""
    keys = list(dict.fromkeys(key for one in potentials.values() for key in one if key != "label"))
    rows = [[label, *(one.get(key) for key in keys)] for label, one in potentials.items()]
    return sheet_of("Potentials", ["potential", *keys], rows, whole=RESULT)


def _add_training(page: Page, folder: Path) -> None:
    """Add the recipe of a run, its errors, and its validations."""
    tracked = _read(folder / _TRACKING)
    recipe = add_recipe(page, folder)
    if not page.title or page.title.startswith("esen train"):
        page.title = f"Training: {tracked.get('name') or recipe or folder.resolve().name}"
    summary, errors = _read(folder / _SUMMARY), _read(folder / _ERRORS)
    done = f"{summary['steps']} steps" if "steps" in summary else ""
    done += f" in {duration(summary['seconds'])}" if "seconds" in summary else ""
    if errors:
        page.results.append(_errors_by_group(errors))
    if overall := errors.get("overall"):
        of = next((of for of in ("test", "validation") if of in summary), "test")
        units = errors.get("units", {})
        values = [
            f"{target} {one['mae']:.4g} {units.get(target, '')}"
            for target, one in overall.items()
            if isinstance(one.get("mae"), int | float)
        ]
        page.summary = f"{of.capitalize()} MAE: {', '.join(values)}; {done.strip()}."
    elif not page.summary:
        page.summary = f"Trained: {done.strip()}." if done else "The training is not finished."
        page.mark = "" if done else "doubtful"
    if (folder / "recipe.yaml").is_file():
        page.results += _worst_frames(folder / _FRAMES)
        again = shlex.join(["esen", "train", str(folder / "recipe.yaml"), "--output", "NEW-FOLDER"])
        page.commands.append(("Train by the recipe with all of its defaults", again))
    if (folder / _METRICS).is_file():
        page.results.append(_validations(folder / _METRICS))
    if tracked:
        page.settings.append(listing("Tracked run", tracked))


def _errors_by_group(errors: Mapping[str, Any]) -> Sheet:
    """Return the errors of a training on all frames, and on each group and element."""
    units = errors.get("units", {})
    groups = {"all": errors["overall"], **errors.get("config_types", {}), **errors.get("elements", {})}
    heads = ["MAE of", *(f"{name} ({unit})" for name, unit in units.items())]
    rows = [[group, *(one.get(target, {}).get("mae") for target in units)] for group, one in groups.items()]
    return sheet_of("Errors", heads, rows, whole=_ERRORS)


def _worst_frames(path: Path) -> list[Sheet]:
    """Return the frames with the largest errors of each target."""
    frames = _rows(path) if path.is_file() else []
    found = []
    for target in TARGETS:
        keys = [f"{target.name}_{kind}" for kind in ("max", "error", "mae")]
        key = next((key for key in keys if frames and key in frames[0]), "")
        known = [
            (abs(frame[key]), frame["source"]) for frame in frames if isinstance(frame.get(key), int | float)
        ]
        for error, source in sorted(known, key=lambda pair: -pair[0])[:_WORST]:
            found.append([key.replace("_", " "), error, target.error_unit, source])
    headings = ["error of a frame", "value", "unit", "frame"]
    return [sheet_of("Worst frames", headings, found)] if found else []


def _validations(path: Path) -> Sheet:
    """Return the metrics of all validations, with units."""
    rows = _rows(path)
    units = {f"{target.name}_mae": f" ({target.error_unit})" for target in TARGETS}
    heads = [
        (name + "".join(unit for key, unit in units.items() if name.endswith(key))).replace("_", " ")
        for name in (rows[0] if rows else ())
    ]
    return sheet_of("Validations", heads, [list(row.values()) for row in rows], whole=_METRICS, folded=True)


def _add_cell(page: Page, one: StoredCell) -> None:
    """Say which cell of a study this is."""
    page.title += f" ({shown_key(*one.key[:3])})"
    page.remarks.insert(0, f"Cell of the study {one.study}: {one.name}: {one.state}.")
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


def _add_comparison(page: Page, comparison: StoredComparison) -> None:
    """Add the tables of a comparison, before the cells of its study."""
    page.results[:0] = [main_sheet(title, one, COMPARISON) for title, one in comparison.tables.items()]
    page.title = page.title or "Comparison"
    variants = {variant.variant for variant in comparison.variants}
    systems = {variant.system for variant in comparison.variants}
    potentials = sum(variant.n for variant in comparison.variants)
    number = f"{len(variants)} variant{'s' * (len(variants) > 1)}"
    place = f" in {len(systems)} systems" if len(systems) > 1 else ""
    page.summary = page.summary or f"{number}{place} compared over {potentials} potentials."
    page.remarks += comparison.remarks
    page.notes = comparison.notes
    page.versions.setdefault("esen", comparison.version)


def _files(folder: Path) -> Sheet:
    """Return the files of the folder, with links."""
    rows = []
    for path in sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name)):
        if path.name.startswith(".") or path.name == REPORT:
            continue
        name, size = path.name, _size(path.stat().st_size)
        if path.is_dir():
            name, size = f"{name}/", f"{sum(inner.is_file() for inner in path.rglob('*'))} files"
        rows.append([Cell(name, link=address(path, folder)), Cell(size, number=True)])
    more = len(rows) - _MOST_FILES
    note = f"{more} more files are in the folder." if more > 0 else ""
    return sheet_of("Files", ["file", "size"], rows[:_MOST_FILES], note=note)


def _size(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a CSV file; what is a number is one, and what is none of the finite ones is None."""
    with path.open(encoding="utf-8", errors="backslashreplace", newline="") as file:
        return [{name: _value(text) for name, text in row.items()} for row in csv.DictReader(file)]


def _value(text: str | None) -> str | float | None:
    for kind in (int, float):
        with suppress(ValueError):
            value = kind(text or "nan")
            return value if math.isfinite(value) else None
    return text


def _read(path: Path) -> dict[str, Any]:
    return read_json(path, "remove it") if path.is_file() else {}


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
