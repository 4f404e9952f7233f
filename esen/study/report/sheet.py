"""Tables of a report: which rows and columns are shown, how values are written, and which are marked."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

from esen.study.report.stored import StoredColumn, StoredTable
from esen.text import without_secrets

Mark = Literal["", "good", "doubtful", "bad", "within"]
WITHIN = "≈"
"""Begins a difference that lies within its interval."""

MOST_ROWS = 300
"""Rows of a table on the page."""
_MOST_COLUMNS = 16
"""Columns beside each other; so many fit on paper."""
_FEW_ROWS = 5
"""Up to so many records, many quantities are listed below each other."""
_LONGEST_TEXT = 1000
_LONGEST_NUMBER = 12
_DASH = "–"
_MARKS: Sequence[tuple[Mark, re.Pattern[str]]] = (
    (
        "bad",
        re.compile(
            r"(\d+ )?(fail|drift|walk|stopped|exploded|unstable|melted|imaginary|not converged|broken|wrong)",
            re.I,
        ),
    ),
    ("doubtful", re.compile(r"undecided|group changed|warning|missing|not run|running|not applicable", re.I)),
    ("good", re.compile(r"(pass|conserved|stable|converged|ok|done|agree)\b", re.I)),
)
_JUDGING = re.compile(r"verdict|state\b|failure", re.I)
"""Names of columns whose words are marked by what they say."""


@dataclass(frozen=True)
class Cell:
    """A value of a table.

    Attributes:
        text: As it is shown.
        exact: The value with all of its digits, where the text has fewer.
        mark: Whether it is good or bad news, or a difference within its interval.
        number: Whether it is a number, which is aligned to the right.
        link: Relative address of what it is about.
        head: Whether it is the name of its row.
    """

    text: str
    exact: str = ""
    mark: Mark = ""
    number: bool = False
    link: str = ""
    head: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table of the page.

    Attributes:
        title: What it shows.
        headings: Of the columns, with units; empty for a list of names and values.
        rows: One cell for each column.
        note: What a reader has to know, such as that rows are left out.
        folded: Whether it is shown only when the reader asks for it.
    """

    title: str
    headings: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    folded: bool = False


def mark_of(text: str) -> Mark:
    """Return whether a verdict is good or bad news.

    >>> [mark_of(word) for word in ("conserved", "drifts", "2 imaginary", "undecided", "Cu")]
    ['good', 'bad', 'bad', 'doubtful', '']
    """
    return next((mark for mark, pattern in _MARKS if pattern.match(text)), "")


def cell(value: Any, *, judging: bool = False) -> Cell:
    """Return a value of any type as a cell.

    >>> cell(134.4794633), cell(None).text, cell([1, 2]).text
    (Cell(text='134.48', exact='134.4794633', mark='', number=True, link='', head=False), '–', '1, 2')
    """
    if isinstance(value, bool):
        return Cell("yes" if value else "no")
    if isinstance(value, int | float):
        text, exact = f"{value:.5g}" if isinstance(value, float) else str(value), repr(value)
        return Cell(text, "" if text == exact else exact, number=True)
    if value is None or value in ("", [], {}):
        return Cell(_DASH)
    if isinstance(value, list) and not any(isinstance(one, list | dict) for one in value):
        text = ", ".join(cell(one).text for one in value)
    else:
        text = value if isinstance(value, str) else _in_words(value)
    text = without_secrets(text)
    if len(text) > _LONGEST_TEXT:
        text = f"{text[:_LONGEST_TEXT]} … ({len(text) - _LONGEST_TEXT:,} more characters)"
    return Cell(text, mark=mark_of(text) if judging else "")


def main_sheet(title: str, table: StoredTable, whole: str) -> Sheet:
    """Return a table as the terminal shows it; with all columns if the result does not say how that was.

    Args:
        title: Of the sheet.
        table: As it is stored.
        whole: Where the whole table is, for the case that rows are left out.
    """
    shown = table.shown
    if shown is None:
        return _whole(title, table, whole)[0]
    headings = [column.heading for column in shown.columns]
    rows = [
        [
            _text_cell(text, column.words, judging=_judges(column.heading))
            for text, column in zip(row, shown.columns, strict=False)
        ]
        for row in shown.rows
    ]
    return sheet_of(title, headings, rows, whole=whole)


def all_quantities(title: str, table: StoredTable, whole: str) -> list[Sheet]:
    """Return all values of a table, in one or several sheets, unless `main_sheet` shows them already."""
    return [] if table.shown is None else _whole(title, table, whole, folded=True)


def listing(title: str, values: Mapping[str, Any], *, folded: bool = False, whole: str = "") -> Sheet:
    """Return nested settings as a list of dotted names and values."""
    rows = [[Cell(name, head=True), cell(value, judging=_judges(name))] for name, value in leaves(values)]
    return sheet_of(title, (), rows, whole=whole, folded=folded)


def sheet_of(
    title: str,
    headings: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    whole: str = "",
    note: str = "",
    folded: bool = False,
) -> Sheet:
    """Return a table of values of any type. Columns whose headings name a verdict are marked.

    Args:
        title: Of the sheet.
        headings: Of the columns.
        rows: Values or cells.
        whole: Where the whole table is, for the case that rows are left out: those without bad news are.
        note: What a reader has to know.
        folded: Whether it is shown only when the reader asks for it.
    """
    cells = [
        [
            value if isinstance(value, Cell) else cell(value, judging=_judges(headings[place]))
            for place, value in enumerate(row)
        ]
        for row in rows
    ]
    if len(cells) > MOST_ROWS:
        where = f"; the whole table is in {whole}" if whole else ""
        note += f"Cut at {MOST_ROWS} of {len(cells):,} rows, those with failures first{where}."
        cells = sorted(cells, key=lambda row: all(one.mark != "bad" for one in row))[:MOST_ROWS]
    shown = [
        Cell(text, number=any(row[place].number for row in cells if place < len(row)))
        for place, text in enumerate(headings)
    ]
    return Sheet(title, shown, cells, note, folded)


def leaves(value: Any, name: str = "") -> Iterable[tuple[str, Any]]:
    """Yield the values of nested mappings by their dotted names; lists of plain values are one value."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value):
        for number, inner in enumerate(value, start=1):
            yield from leaves(inner, f"{name}.{number}")
    else:
        yield name, value


def _in_words(value: Any) -> str:
    """Return nested values in one line: `model.forces.kind = direct, model.lmax = 3`."""
    if not isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False)
    return ", ".join(f"{name} = {cell(inner).text}" for name, inner in value.items())


def verdicts(table: StoredTable) -> Counter[str]:
    """Count the verdicts of all rows of a table, as the terminal shows them; empty if it has none."""
    shown = table.shown
    place = next((n for n, c in enumerate(shown.columns) if c.heading == "verdict"), None) if shown else None
    if shown is None or place is None:
        return Counter(str(row["verdict"]) for row in table.rows if row.get("verdict"))
    return Counter(text for row in shown.rows if (text := row[place]))


def _whole(title: str, table: StoredTable, whole: str, *, folded: bool = False) -> list[Sheet]:
    """All columns that have values: records side by side if there are few, else blocks of columns."""
    symbols = Counter(column.symbol for column in table.columns)
    filled = [c for c in table.columns if any(row.get(c.name) not in (None, "", []) for row in table.rows)]
    left_out = len(table.columns) - len(filled)
    note = f"{left_out} columns without any value are not shown. " if left_out and table.rows else ""
    names = [_name(column, symbols) for column in filled]
    rows = [
        [cell(row.get(column.name), judging=_judges(column.name)) for column in filled] for row in table.rows
    ]
    if len(rows) <= _FEW_ROWS and len(filled) > _MOST_COLUMNS:
        numbers = [f"row {number}" for number in range(1, len(rows) + 1)] if len(rows) > 1 else ["value"]
        turned = [[Cell(name, head=True), *values] for name, *values in zip(names, *rows, strict=True)]
        return [sheet_of(title, ["quantity", *numbers], turned, note=note, folded=folded)]
    keys = _keys(rows)
    starts = range(keys, max(len(filled), keys + 1), _MOST_COLUMNS - keys)
    sheets = []
    for part, start in enumerate(starts, start=1):
        chosen = [*range(keys), *range(start, min(start + starts.step, len(filled)))]
        block = [[row[place] for place in chosen] for row in rows]
        heading = f"{title}, part {part} of {len(starts)}" if len(starts) > 1 else title
        headings = [names[place] for place in chosen]
        sheets.append(sheet_of(heading, headings, block, whole=whole, note=note, folded=folded))
    return sheets


def _keys(rows: Sequence[Sequence[Cell]]) -> int:
    """Return how many columns of words a table begins with, up to three: they name its rows."""
    for place in range(3):
        if not rows or place >= len(rows[0]) or any(row[place].number for row in rows):
            return place
    return 3


def _name(column: StoredColumn, symbols: Counter[str]) -> str:
    """Return the heading of a column: its name in words, its symbol if no other column has it, and its unit."""
    words = column.name.replace("_", " ")
    own = column.symbol not in ("", column.name, words) and symbols[column.symbol] == 1
    return f"{words}{f', {column.symbol}' if own else ''}{f' ({column.unit})' if column.unit else ''}"


def _text_cell(text: str | None, words: bool, *, judging: bool) -> Cell:
    shown = cell(text, judging=judging)
    if not words and len(shown.text) > _LONGEST_NUMBER:
        with suppress(ValueError):  # a column without a format
            return cell(float(shown.text))
    if shown.text.startswith(WITHIN):
        return replace(shown, mark="within", number=True)
    return replace(shown, number=not words and re.match(r"[-−+]?\d", shown.text) is not None)


def _judges(name: str) -> bool:
    """Whether the words of a column are marked by what they say."""
    return _JUDGING.search(name) is not None
