"""The files of a comparison."""

from pathlib import Path

from esen.files import write_atomically, write_json
from esen.study.compare.comparison import Comparison
from esen.study.compare.correlation import Correlation
from esen.study.potentials import distinct, file_name
from esen.study.report import finish

STEM = "comparison"


def write_comparison(comparison: Comparison, folder: Path) -> dict[str, Path]:
    """Write `comparison.json`, `.csv`, `.tex` and `.md`, a scatter plot of each correlation, and the report.

    Returns:
        The paths by what they hold.

    Raises:
        OSError: A file cannot be written.
    """
    paths = {
        "all quantities": folder / f"{STEM}.json",
        "table, CSV": folder / f"{STEM}.csv",
        "table, LaTeX": folder / f"{STEM}.tex",
        "table, Markdown": folder / f"{STEM}.md",
    }
    write_json(paths["all quantities"], comparison.json())
    write_atomically(paths["table, CSV"], comparison.csv())
    write_atomically(paths["table, LaTeX"], comparison.latex())
    write_atomically(paths["table, Markdown"], comparison.markdown())
    names = distinct([_name(correlation) for correlation in comparison.correlations])
    for name, correlation in zip(names, comparison.correlations, strict=True):
        from esen.study.plots.compare import correlation_plot

        system = f", {correlation.system}" if correlation.system else ""
        path = folder / f"{file_name(name)}.png"
        correlation_plot(correlation, path)
        paths[f"{correlation.x[1]} against {correlation.y[1]}{system}"] = path
    return finish(folder, paths)


def _name(correlation: Correlation) -> str:
    parts = ["correlation", correlation.system, correlation.x[0], correlation.y[0]]
    return "-".join(part.replace(" ", "-") for part in parts if part)
