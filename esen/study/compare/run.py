"""The files of a comparison."""

from collections.abc import Iterator
from pathlib import Path

from esen import __version__
from esen.files import csv_text, write_atomically, write_json
from esen.study.compare.comparison import Comparison
from esen.study.compare.layout import correlation_tables, latex, markdown, notes, value_tables
from esen.study.compare.statistics import CONFIDENCE
from esen.study.potentials import distinct, file_name
from esen.study.report import finish

_CSV = (
    *("system", "variant", "quantity", "unit", "n", "mean", "deviation"),
    *("base", "n of difference", "difference", "low", "high", "difference (%)", "within interval"),
)


def write_comparison(comparison: Comparison, folder: Path) -> dict[str, Path]:
    """Write `comparison.json`, `.csv`, `.tex` and `.md`, a scatter plot of each correlation, and the report.

    `tables` in `comparison.json` has the tables as they are shown, in the schema of `result.json`.

    Returns:
        The paths by what they hold.

    Raises:
        OSError: A file cannot be written.
    """
    paths = {
        "all quantities": folder / "comparison.json",
        "table, CSV": folder / "comparison.csv",
        "table, LaTeX": folder / "comparison.tex",
        "table, Markdown": folder / "comparison.md",
    }
    tables = [*value_tables(comparison), *correlation_tables(comparison)]
    content = {
        "command": "compare",
        "version": __version__,
        "confidence": CONFIDENCE,
        **comparison.json(),
        "tables": {title: table.json() for title, table in tables},
        "notes": notes(comparison),
    }
    write_json(paths["all quantities"], content)
    write_atomically(paths["table, CSV"], csv_text(_CSV, _csv_rows(comparison)))
    write_atomically(paths["table, LaTeX"], latex(comparison))
    write_atomically(paths["table, Markdown"], markdown(comparison))
    names = distinct(
        [
            "-".join(
                part.replace(" ", "-") for part in ("correlation", one.system, one.x.name, one.y.name) if part
            )
            for one in comparison.correlations
        ]
    )
    for name, correlation in zip(names, comparison.correlations, strict=True):
        from esen.study.plots.compare import correlation_plot

        system = f", {correlation.system}" if correlation.system else ""
        path = folder / f"{file_name(name)}.png"
        correlation_plot(correlation, path)
        paths[f"{correlation.x.symbol} against {correlation.y.symbol}{system}"] = path
    return finish(folder, paths)


def _csv_rows(comparison: Comparison) -> Iterator[list[object]]:
    """Yield one row per system, variant and quantity that tables show, with full precision."""
    for line in comparison.lines:
        base = comparison.bases.get(line.system)
        for heading in comparison.columns:
            cell = line.cells.get(heading.name)
            values = [0, None, None] if cell is None else [cell.n, cell.mean, cell.deviation]
            row = [line.system, line.variant, heading.name, heading.unit, *values, base]
            if cell is None or (one := cell.difference) is None:
                yield [*row, *[None] * 6]
            else:
                yield [*row, len(one.seeds), one.mean, *one.ends, one.relative, one.within]
