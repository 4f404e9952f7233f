"""How a comparison is written: tables for a terminal, LaTeX and Markdown, from the same texts."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from esen.study.compare.comparison import Cell, Comparison, Heading, Line
from esen.study.table import latex_text
from esen.text import printable

NOTHING = "–"
WITHIN = "≈"
INCOMPLETE = "†"
_LONGEST_NAME = 24
"""Width of names of variants and systems that is planned for; longer ones are broken into lines."""
_GAP = 3
"""Width between the columns of a table on a terminal."""
_MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\|*_`<>[]#~$"})


class Shown(NamedTuple):
    """The text of a cell.

    Attributes:
        text: The text.
        dim: Whether it is grey: a difference that the seeds explain.
    """

    text: str
    dim: bool = False


@dataclass(frozen=True, eq=False)
class Grid:
    """A table of texts.

    Attributes:
        title: What it shows.
        headings: Of the columns.
        rows: One per variant.
        names: Number of leading columns that hold names.
        columns: The quantities of the other columns.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Shown]]
    names: int
    columns: Sequence[Heading]


def rounded(value: float, error: float | None) -> tuple[str, str]:
    """Return a value and its error with two digits of the error; four digits of a value without error.

    >>> rounded(12.3456, 0.1234), rounded(210113.0, None), rounded(0.000123456, 0.0), rounded(12346.0, 678.0)
    (('12.35', '0.12'), ('210113', ''), ('0.0001235', ''), ('12350', '680'))
    """
    if not error or not math.isfinite(error):
        return (f"{value:.0f}" if value == round(value) and abs(value) < 1e9 else f"{value:.4g}"), ""
    exponent = math.floor(math.log10(error)) - 1
    if exponent < -7 or abs(value) >= 1e7:
        return f"{value:.2e}", f"{error:.1e}"
    digits = max(0, -exponent)
    scale = 10.0 ** max(0, exponent)
    return f"{round(value / scale) * scale if exponent > 0 else value:.{digits}f}", (
        f"{round(error / scale) * scale if exponent > 0 else error:.{digits}f}"
    )


def value_of(cell: Cell | None, line: Line) -> Shown:
    """Return the mean of a cell with its deviation, and n if it is not that of the variant."""
    if cell is None:
        return Shown(NOTHING)
    value, error = rounded(cell.mean, cell.deviation)
    text = f"{value} ± {error}" if error else value
    if any(cell.missing.values()):
        text += f" {INCOMPLETE}"
    return Shown(text if cell.n == len(line.seeds) else f"{text} (n = {cell.n})")


def difference_of(cell: Cell | None, line: Line) -> Shown:
    """Return the difference to the base with its interval, absolute and in per cent."""
    if line.is_base:
        return Shown("base")
    if cell is None or cell.difference is None:
        return Shown(NOTHING)
    difference = cell.difference
    value, error = rounded(difference.mean, difference.half_width)
    text = value if value.startswith("-") else f"+{value}"
    text = f"{text} ± {error}" if error else text
    if difference.relative is not None:
        percent = difference.relative
        text += f", {percent:+.0f} %" if 10 <= abs(percent) < 1e4 else f", {percent:+.2g} %"
    if len(difference.seeds) != len(line.seeds) or len(difference.seeds) == 1:
        text += f" (n = {len(difference.seeds)})"
    return Shown(f"{WITHIN} {text}" if difference.within else text, dim=bool(difference.within))


def grids(comparison: Comparison, width: int | None = None) -> list[Grid]:
    """Return the tables of values and of differences, each with as many quantities as fit into a width.

    Args:
        comparison: The comparison.
        width: In characters; None: all quantities stand in one table.
    """
    made = []
    for title, cell_text in _kinds(comparison):
        names = _names(comparison)
        columns = [
            (heading, [cell_text(line.cells.get(heading.name), line) for line in comparison.lines])
            for heading in comparison.columns
        ]
        if cell_text is difference_of:  # a quantity without any difference has no column there
            columns = [
                (heading, cells) for heading, cells in columns if _has_difference(comparison, heading.name)
            ]
        for group in _fitting(columns, names, width):
            headings = [*(name for name, _ in names), *(heading.text for heading, _ in group)]
            texts = [*(mine for _, mine in names), *(mine for _, mine in group)]
            rows = list(zip(*texts, strict=True))
            made.append(Grid(title, headings, rows, len(names), [heading for heading, _ in group]))
    return made


def _has_difference(comparison: Comparison, name: str) -> bool:
    cells = [line.cells.get(name) for line in comparison.lines]
    return any(cell is not None and cell.difference is not None for cell in cells)


def _kinds(
    comparison: Comparison,
) -> list[tuple[str, Callable[[Cell | None, Line], Shown]]]:
    """Return the titles of the tables and what makes their cells."""
    kinds: list[tuple[str, Callable[[Cell | None, Line], Shown]]] = [
        ("Mean ± standard deviation over the seeds", value_of)
    ]
    if any(_has_difference(comparison, name) for name in comparison.shown):
        bases = list(dict.fromkeys(comparison.bases.values()))
        title = f"Difference to {', '.join(bases)} over common seeds, with 95 % interval"
        kinds.append((title, difference_of))
    return kinds


def _names(comparison: Comparison) -> list[tuple[str, list[Shown]]]:
    """Return the columns that say what a row is about."""
    columns = [
        ("variant", [Shown(line.variant) for line in comparison.lines]),
        ("n", [Shown(str(len(line.seeds))) for line in comparison.lines]),
    ]
    if comparison.systems != [""]:
        columns.insert(0, ("system", [Shown(line.system or NOTHING) for line in comparison.lines]))
    return columns


def _fitting(
    columns: Sequence[tuple[Heading, list[Shown]]],
    names: Sequence[tuple[str, list[Shown]]],
    width: int | None,
) -> list[list[tuple[Heading, list[Shown]]]]:
    """Divide columns into groups, each of which fits into the width beside the names, with one column at least."""
    if width is None:
        return [list(columns)] if columns else []
    taken = sum(
        min(_LONGEST_NAME, max(len(title), *(len(cell.text) for cell in cells))) + _GAP
        for title, cells in names
    )
    groups: list[list[tuple[Heading, list[Shown]]]] = []
    left = 0
    for heading, cells in columns:
        needed = _width(heading, cells) + _GAP
        if not groups or needed > left:
            groups.append([])
            left = width - taken
        groups[-1].append((heading, cells))
        left -= needed
    return groups


def _width(heading: Heading, cells: Sequence[Shown]) -> int:
    parts = heading.text.replace(" [", "\n[").replace(" (", "\n(").split("\n")
    return max(*map(len, parts), *(len(cell.text) for cell in cells))


def notes(comparison: Comparison) -> list[str]:
    """Return what has to be known to read the tables, one line each."""
    lines = comparison.lines
    cells = [line.cells[name] for line in lines for name in comparison.shown if name in line.cells]
    symbols: dict[str, list[str]] = {}
    for heading in comparison.columns:
        if heading.how:
            symbols.setdefault(heading.how, []).append(heading.symbol)
    found = [f"{', '.join(names)}: {how}" for how, names in symbols.items()]
    if any(len(line.seeds) == 1 for line in lines):
        found.append("n = 1: a single potential, which has no deviation; its difference has no interval")
    if any(cell.difference and cell.difference.within for cell in cells):
        found.append(f"{WITHIN}: 0 lies within the 95 % interval, so that the seeds explain the difference")
    if any(cell.difference for cell in cells):
        found.append(
            "differences: mean over common seeds ± t s/√n with Student's t of n − 1 degrees of freedom; in per cent"
            " of the mean of the base over these seeds"
        )
    if any(any(cell.missing.values()) for cell in cells):
        found.append(f"{INCOMPLETE}: a mean without items for which other potentials have a value")
    return found


def stored_tables(comparison: Comparison) -> dict[str, Any]:
    """Return the tables by title, each with columns and rows as in `result.json`, and as the terminal shows it."""
    found: dict[str, Any] = {}
    for grid in grids(comparison):
        names = [*grid.headings[: grid.names], *(heading.name for heading in grid.columns)]
        symbols = [*grid.headings[: grid.names], *(heading.symbol for heading in grid.columns)]
        units = [""] * grid.names + [heading.unit for heading in grid.columns]
        found[grid.title] = _stored(
            list(zip(names, symbols, units, strict=True)),
            [[cell.text for cell in row] for row in grid.rows],
            words=len([name for name in grid.headings[: grid.names] if name != "n"]),
        )
    for one in comparison.correlations:
        rows = one.rows()
        title = f"Correlation of {one.x[1]} with {one.y[1]}{f', {one.system}' if one.system else ''}"
        found[title] = _stored(
            [(name, name, "") for name in rows[0]], [list(map(str, row.values())) for row in rows], words=1
        )
    return found


def _stored(
    columns: Sequence[tuple[str, str, str]], rows: Sequence[Sequence[str]], words: int
) -> dict[str, Any]:
    """Return a table of texts.

    Args:
        columns: Name, symbol and unit of each.
        rows: Texts.
        words: Number of leading columns that hold words.
    """
    return {
        "columns": [
            {"name": name, "symbol": symbol, "unit": unit, "better": None} for name, symbol, unit in columns
        ],
        "rows": [dict(zip([name for name, _, _ in columns], row, strict=True)) for row in rows],
        "shown": {
            "columns": [
                {"heading": f"{symbol} ({unit})" if unit else symbol, "words": number < words}
                for number, (_, symbol, unit) in enumerate(columns)
            ],
            "rows": rows,
        },
    }


def latex(comparison: Comparison) -> str:
    """Return the tables in LaTeX, with the units beneath the symbols, for the packages booktabs and xcolor."""
    parts = ["% needs \\usepackage{booktabs,xcolor}"]
    for grid in grids(comparison):
        symbols = [
            latex_text(name) for name in (*grid.headings[: grid.names], *(h.symbol for h in grid.columns))
        ]
        units = [""] * grid.names + [latex_text(f"({h.unit})") if h.unit else "" for h in grid.columns]
        body = [[_latex_cell(cell) for cell in row] for row in grid.rows]
        align = "l" * (grid.names - 1) + "r" * (len(symbols) - grid.names + 1)
        rows = [" & ".join(row) + r" \\" for row in (symbols, units, *body)]
        parts += [
            f"% {printable(grid.title)}",
            rf"\begin{{tabular}}{{{align}}}",
            *(r"\toprule", *rows[:2], r"\midrule", *rows[2:], r"\bottomrule"),
            r"\end{tabular}",
            "",
        ]
    return "\n".join([*parts, *(f"% {printable(note)}" for note in notes(comparison)), ""])


def _latex_cell(cell: Shown) -> str:
    text = "--" if cell.text == NOTHING else latex_text(cell.text)
    return rf"\textcolor{{gray}}{{{text}}}" if cell.dim else text


def markdown(comparison: Comparison) -> str:
    """Return the tables in Markdown. A difference within its interval is marked, because Markdown has no grey."""
    parts: list[str] = []
    for grid in grids(comparison):
        align = ["---"] * (grid.names - 1) + ["---:"] * (len(grid.headings) - grid.names + 1)
        rows = [[_markdown(text) for text in grid.headings], align]
        rows += [[_markdown(cell.text) for cell in row] for row in grid.rows]
        parts += [f"**{_markdown(grid.title)}**", "", *(f"| {' | '.join(row)} |" for row in rows), ""]
    for correlation in comparison.correlations:
        system = f" ({_markdown(correlation.system)})" if correlation.system else ""
        parts += [f"**{_markdown(correlation.x[1])} against {_markdown(correlation.y[1])}{system}**", ""]
        parts += ["| over | n | Pearson | Spearman |", "|---|---:|---:|---:|"]
        parts += [
            f"| {' | '.join(_markdown(str(text)) for text in row.values())} |" for row in correlation.rows()
        ]
        parts.append("")
    parts += [f"- {_markdown(note)}" for note in (*notes(comparison), *comparison.remarks)]
    return "\n".join([*parts, ""])


def _markdown(text: str) -> str:
    return printable(text).translate(_MARKDOWN)
