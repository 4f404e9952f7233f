"""How a comparison is written: tables for a terminal, LaTeX and Markdown, from the same texts."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import itemgetter

from esen.study.compare.comparison import Cell, Comparison, Line
from esen.study.report.sheet import WITHIN
from esen.study.table import Column, Table, latex_text
from esen.text import Grey, printable

NOTHING = "–"
INCOMPLETE = "†"
_ROUNDING = 1e-13
_LAST_OF_PDFLATEX = "\N{LATIN SMALL LETTER LONG S}"
_LONGEST_NAME = 24
"""Width of names of variants that is planned for; longer ones are broken into lines."""
_GAP = 3
"""Width between the columns of a table on a terminal."""
_MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\|*_`<>[]#~$"})

Texts = Table[Sequence[str]]
"""A table of texts; those that are `Grey` are shown in grey."""
_Filled = tuple[Column[Sequence[str]], Sequence[str]]
"""A column with its texts."""


def rounded(value: float, error: float | None) -> tuple[str, str]:
    """Return a value and its error with two digits of the error; four digits of a value without error.

    An error below the rounding of floating-point numbers is none.

    >>> rounded(12.3456, 0.1234), rounded(210113.0, None), rounded(0.000123456, 0.0), rounded(12346.0, 678.0)
    (('12.35', '0.12'), ('210113', ''), ('0.0001235', ''), ('12350', '680'))
    >>> rounded(2.9999999999999996, 4e-15)
    ('3', '')
    """
    if not error or not math.isfinite(error) or error < _ROUNDING * abs(value):
        value = float(f"{value:.12g}")
        return (f"{value:.0f}" if value == round(value) and abs(value) < 1e9 else f"{value:.4g}"), ""
    exponent = math.floor(math.log10(error)) - 1
    if exponent < -7 or abs(value) >= 1e7:
        return f"{value:.2e}", f"{error:.1e}"
    digits = max(0, -exponent)
    scale = 10.0 ** max(0, exponent)
    return f"{round(value / scale) * scale if exponent > 0 else value:.{digits}f}", (
        f"{round(error / scale) * scale if exponent > 0 else error:.{digits}f}"
    )


def value_tables(comparison: Comparison, width: int | None = None) -> Iterator[tuple[str, Texts]]:
    """Yield the tables of values and of differences of each system, with their titles.

    A table has the quantities for which the system has values.

    Args:
        comparison: The comparison.
        width: In characters; a wider table is divided. None: all quantities stand in one table.
    """
    for system, lines in comparison.systems.items():
        names: list[_Filled] = [
            (Column("variant", wraps=True), [line.variant for line in lines]),
            (Column("n"), [str(len(line.seeds)) for line in lines]),
        ]
        difference = f"Difference to {comparison.bases.get(system)} over common seeds, with 95 % interval"
        for title, text_of in (
            ("Mean ± standard deviation over the seeds", _value),
            (difference, _difference),
        ):
            columns: list[_Filled] = []
            for heading in comparison.columns:
                texts = [text_of(line.cells.get(heading.name), line) for line in lines]
                if not {*texts} <= {NOTHING, "base"}:
                    columns.append((Column(heading.name, heading.symbol, heading.unit), texts))
            for group in _fitting(columns, names, width):
                yield _titled(title, system), _table([*names, *group])


def correlation_tables(comparison: Comparison) -> Iterator[tuple[str, Texts]]:
    """Yield the coefficients of each correlation, with their titles."""
    for one in comparison.correlations:
        found = one.lines()
        pearson, spearman = zip(*(coefficients.texts() for coefficients in found.values()), strict=True)
        columns: list[_Filled] = [
            (Column("over", wraps=True), list(found)),
            (Column("n"), [str(coefficients.n) for coefficients in found.values()]),
            (Column("Pearson"), pearson),
            (Column("Spearman"), spearman),
        ]
        yield _titled(f"Correlation of {one.x.symbol} with {one.y.symbol}", one.system), _table(columns)


def _titled(title: str, system: str) -> str:
    return f"{title}, {system}" if system else title


def _table(columns: Sequence[_Filled]) -> Texts:
    declared = [
        replace(column, value=itemgetter(place), format=lambda text: text)
        for place, (column, _) in enumerate(columns)
    ]
    return Table(declared, list(zip(*(texts for _, texts in columns), strict=True)))


def _value(cell: Cell | None, line: Line) -> str:
    """Return the mean of a cell with its deviation, and n if it is not that of the variant."""
    if cell is None:
        return NOTHING
    value, error = rounded(cell.mean, cell.deviation)
    text = f"{value} ± {error}" if error else value
    if any(cell.missing.values()):
        text += f" {INCOMPLETE}"
    return text if cell.n == len(line.seeds) else f"{text} (n = {cell.n})"


def _difference(cell: Cell | None, line: Line) -> str:
    """Return the difference to the base with its interval, absolute and in per cent."""
    if line.is_base:
        return "base"
    if cell is None or cell.difference is None:
        return NOTHING
    difference = cell.difference
    value, error = rounded(difference.mean, difference.half_width)
    text = value if value.startswith("-") else f"+{value}"
    text = f"{text} ± {error}" if error else text
    if difference.relative is not None:
        percent = difference.relative
        text += f", {percent:+.0f} %" if 10 <= abs(percent) < 1e4 else f", {percent:+.2g} %"
    if len(difference.seeds) != len(line.seeds) or len(difference.seeds) == 1:
        text += f" (n = {len(difference.seeds)})"
    return Grey(f"{WITHIN} {text}") if difference.within else text


def _fitting(
    columns: Sequence[_Filled], names: Sequence[_Filled], width: int | None
) -> Iterator[Sequence[_Filled]]:
    """Divide columns into groups, each of which fits into the width beside the names, with one column at least."""
    left = math.inf if width is None else width - sum(min(_LONGEST_NAME, _width(one)) + _GAP for one in names)
    taken, group = 0, list[_Filled]()
    for one in columns:
        needed = _width(one) + _GAP
        if group and taken + needed > left:
            yield group
            taken, group = 0, []
        taken += needed
        group.append(one)
    if group:
        yield group


def _width(one: _Filled) -> int:
    column, texts = one
    parts = column.heading.replace(" [", "\n[").replace(" (", "\n(").split("\n")
    return max(map(len, (*parts, *texts)))


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


def latex(comparison: Comparison) -> str:
    """Return the tables in LaTeX, with the units beneath the symbols, for the packages booktabs and xcolor."""
    parts = ["% needs \\usepackage{booktabs,xcolor}"]
    for title, table in value_tables(comparison):
        columns = table.columns
        lines = [
            [latex_text(column.symbol or column.name) for column in columns],
            [latex_text(f"({column.unit})") if column.unit else "" for column in columns],
            *([_latex_cell(text) for text in row] for row in table.records),
        ]
        symbols, units, *body = (" & ".join(line) + r" \\" for line in lines)
        parts += [
            f"% {printable(title)}",
            rf"\begin{{tabular}}{{{''.join('l' if column.wraps else 'r' for column in columns)}}}",
            *(r"\toprule", symbols, units, r"\midrule", *body, r"\bottomrule"),
            r"\end{tabular}",
            "",
        ]
    code = (part for part in parts if not part.startswith("%"))
    if unknown := sorted({letter for part in code for letter in part if letter > _LAST_OF_PDFLATEX}):
        parts.insert(1, f"% pdflatex has no {' '.join(unknown)}: use lualatex with a font that has")
    return "\n".join([*parts, *(f"% {printable(note)}" for note in notes(comparison)), ""])


def _latex_cell(text: str) -> str:
    shown = latex_text(text)
    return rf"\textcolor{{gray}}{{{shown}}}" if isinstance(text, Grey) else shown


def markdown(comparison: Comparison) -> str:
    """Return the tables in Markdown. A difference within its interval is marked, because Markdown has no grey."""
    parts: list[str] = []
    for title, table in (*value_tables(comparison), *correlation_tables(comparison)):
        lines = [
            [_markdown(column.heading) for column in table.columns],
            ["---" if column.wraps else "---:" for column in table.columns],
            *([_markdown(text) for text in row] for row in table.records),
        ]
        parts += [f"**{_markdown(title)}**", "", *(f"| {' | '.join(line)} |" for line in lines), ""]
    parts += [f"- {_markdown(note)}" for note in (*notes(comparison), *comparison.remarks)]
    return "\n".join([*parts, ""])


def _markdown(text: str) -> str:
    return printable(text).translate(_MARKDOWN)
