"""Tables: a quantity is declared once, and all that is written of it is made from that declaration.

A `Column` says what a quantity is called, its unit, how it is computed from a record and how it is formatted. The
terminal, CSV, JSON, LaTeX and MLflow read the same columns, so that a quantity is changed or added in one place.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from esen import __version__
from esen.files import RESULT, csv_text, plain, write_json
from esen.study.environment import environment
from esen.study.potentials import PotentialSource
from esen.text import printable

R = TypeVar("R")

_GREEK = "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ"
_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi"
    " omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
)
_LATEX = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "Å": r"\AA{}"}
    | {"³": "$^3$", "²": "$^2$", "→": r"$\to$", "−": "$-$", "±": r"$\pm$", "≈": r"$\approx$", "√": r"$\surd$"}
    | {"[": "{[}", "]": "{]}"}  # a bracket at the start of a row would be an option of the row before
    | {"|": r"$|$", "<": "$<$", ">": "$>$", "–": "--", "†": r"\dag{}", "…": r"\dots{}", "×": r"$\times$"}
    | {"ħ": r"$\hbar$", "≤": r"$\leq$", "≥": r"$\geq$"}
    | {letter: rf"$\{name}$" for letter, name in zip(_GREEK, _NAMES.split(), strict=True)}
)
_TILDE = re.compile("(.)\N{COMBINING TILDE}")


@dataclass(frozen=True)
class Column(Generic[R]):
    """One quantity of a table.

    Attributes:
        name: key in JSON, CSV and MLflow.
        symbol: heading on a terminal and in LaTeX; the name if it is empty.
        unit: of the values; empty for words, counts and ratios.
        value: computes the value from a record; the record's attribute `name` if it is None. None and NaN mean that the
            record has no such value.
        format: format specification or function that makes the text for a terminal and for LaTeX.
        better: whether less or more is better; None: neither.
        shown: whether the terminal and LaTeX have it.
        stored: whether CSV and JSON have it.
        tracked: whether it is a metric in MLflow.
        wraps: whether it is text that may be broken into several lines on a terminal.
        brief: whether the heading on a terminal has no unit, because the table is wide and the unit is stated beneath.
    """

    name: str
    symbol: str = ""
    unit: str = ""
    value: Callable[[R], Any] | None = None
    format: str | Callable[[Any], str] = ""
    better: Literal["less", "more"] | None = None
    shown: bool = True
    stored: bool = True
    tracked: bool = False
    wraps: bool = False
    brief: bool = False

    @property
    def heading(self) -> str:
        """Heading on a terminal: symbol and unit."""
        name = self.symbol or self.name
        return f"{name} ({self.unit})" if self.unit and not self.brief else name

    @property
    def csv_heading(self) -> str:
        """Heading in CSV: name and unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def metric(self) -> str:
        """Key of the metric in MLflow, with the unit and without the name of a potential.

        >>> Column("kappa", unit="W/m/K").metric, Column("stress", unit="meV/Å³").metric
        ('kappa_W_per_m_per_K', 'stress_meV_per_A3')
        """
        ascii_unit = self.unit.replace("Å", "A").replace("³", "3").replace("²", "2").replace("/", "_per_")
        return re.sub(r"\W+", "_", f"{self.name}_{ascii_unit}").strip("_")

    def of(self, record: R) -> Any:
        """Return the value of a record; None if there is none."""
        value = (self.value or attrgetter(self.name))(record)
        return None if isinstance(value, float) and not math.isfinite(value) else value

    def text(self, record: R) -> str | None:
        """Return the value of a record as text; None if there is none."""
        value = self.of(record)
        if value is None or value == "":
            return None
        return self.format(value) if callable(self.format) else format(value, self.format)


@dataclass(frozen=True, eq=False)
class Table(Generic[R]):
    """Records and the columns that are made of them.

    Attributes:
        columns: in the order in which they are written.
        records: one row each.
    """

    columns: Sequence[Column[R]]
    records: Sequence[R]

    def texts(self) -> list[dict[str, str | None]]:
        """Return the rows for a terminal, as texts by heading."""
        shown = [column for column in self.columns if column.shown]
        return [{column.heading: column.text(record) for column in shown} for record in self.records]

    @property
    def wrapping(self) -> set[str]:
        """Headings of the columns that may be broken into several lines."""
        return {column.heading for column in self.columns if column.wraps}

    def csv(self) -> str:
        """Return the table as CSV, with full precision and units in the headings."""
        stored = [column for column in self.columns if column.stored]
        rows = ([column.of(record) for column in stored] for record in self.records)
        return csv_text([column.csv_heading for column in stored], rows)

    def json(self) -> dict[str, Any]:
        """Return `columns` (name, symbol, unit, better), `rows` (values by name), and `shown`, the terminal's table."""
        stored = [column for column in self.columns if column.stored]
        declared = [
            {"name": c.name, "symbol": c.symbol or c.name, "unit": c.unit, "better": c.better} for c in stored
        ]
        return {
            "columns": declared,
            "rows": [{c.name: c.of(r) for c in stored} for r in self.records],
            "shown": self._shown(),
        }

    def _shown(self) -> dict[str, Any]:
        """Return the terminal's table for `report.html`: headings, always with units, and texts."""
        shown = [column for column in self.columns if column.shown]
        headings = [{"heading": replace(c, brief=False).heading, "words": c.wraps} for c in shown]
        return {"columns": headings, "rows": [[c.text(record) for c in shown] for record in self.records]}

    def latex(self) -> str:
        """Return the table in LaTeX, for the package booktabs."""
        shown = [column for column in self.columns if column.shown]
        lines = [[latex_text(column.heading) for column in shown]]
        lines += [[latex_text(column.text(record) or "--") for column in shown] for record in self.records]
        head, *body = (" & ".join(line) + r" \\" for line in lines)
        align = "".join("l" if column.wraps else "r" for column in shown)
        rules = (r"\toprule", head, r"\midrule", *body, r"\bottomrule")
        return "\n".join((rf"\begin{{tabular}}{{{align}}}", *rules, r"\end{tabular}", ""))

    def metrics(self, record: R) -> dict[str, float]:
        """Return the metrics of one record for MLflow."""
        found = {c.metric: c.of(record) for c in self.columns if c.tracked}
        return {key: float(value) for key, value in found.items() if value is not None}


def write_result(
    output: Path,
    command: str,
    *,
    potentials: Mapping[str, PotentialSource],
    settings: Mapping[str, Any],
    table: Table[Any],
    **more: Any,
) -> Path:
    """Write `result.json`, which has the same schema for every command.

    Args:
        output: folder of the run.
        command: that made the result.
        potentials: by label, what identifies each: what the user gave, path, precision, arguments, SHA-256.
        settings: everything else that the numbers depend on.
        table: one row per result.
        **more: further sections of the command.

    Returns:
        The path of the file.

    Raises:
        OSError: the file cannot be written.
    """
    content = {
        "command": command,
        "version": __version__,
        "potentials": {label: asdict(source) for label, source in potentials.items()},
        "settings": settings,
        **table.json(),
        **{name: one.json() if isinstance(one, Table) else one for name, one in more.items()},
        "environment": environment(),
    }
    write_json(output / RESULT, plain(content))
    return output / RESULT


def latex_text(text: str) -> str:
    r"""Escape what LaTeX would read as a command, and write units and Greek letters in its mathematics.

    >>> print(latex_text("ω_max (meV/Å)"), latex_text("σ(H̃)/√N (ħ)"))
    $\omega$\_max (meV/\AA{}) $\sigma$(\~{H})/$\surd$N ($\hbar$)
    """
    return _TILDE.sub(r"\\~{\1}", printable(text).translate(_LATEX))
