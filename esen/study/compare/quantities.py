"""Which quantities a comparison knows, and how the rows of one potential become one number.

What a quantity is called, its unit and whether less is better come from the `columns` of `result.json`. `TABLE_1`
declares what the table shows unless the user chooses, in its order. Every other numeric column is available under
`command.column`, as the mean over the rows.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Better = Literal["less", "more"]
Row = Mapping[str, Any]
Items = Mapping[str, float | None]
"""Values by the name of what they are about, such as a crystal."""

KEYS: Mapping[str, tuple[str, ...]] = {
    "mae": ("name",),
    "md-drift": ("protocol", "system"),
    "phonons": ("crystal",),
    "conductivity": ("material", "temperature"),
    "elastic": ("name", "source"),
    "relax": ("name", "source"),
    "check": ("law",),
    "train": ("of",),
}
"""Columns that say what a row of each command is about."""
CHECK = "check"


def number(value: Any) -> float | None:
    """Return a value as a number, true as 1; None if it is no finite number.

    >>> number(3), number(True), number("3"), number(float("nan"))
    (3.0, 1.0, None, None)
    """
    if not isinstance(value, bool | int | float):
        return None
    return float(value) if math.isfinite(value) else None


def mean(values: Sequence[float]) -> float:
    """Return the mean."""
    return math.fsum(values) / len(values)


def mean_size(values: Sequence[float]) -> float:
    """Return the mean of the absolute values."""
    return mean([abs(value) for value in values])


@dataclass(frozen=True)
class Heading:
    """A quantity of a comparison, as a reader sees it.

    Attributes:
        name: As `--columns` takes it.
        symbol: Heading of its column.
        unit: Its unit; empty for counts and ratios.
        better: Whether less or more is better; None: neither.
        how: How the rows of one potential became one number; empty if it was one row.
        potentials: Number of potentials that have it.
        test: Name of the test; empty if the command was run as only one.
    """

    name: str
    symbol: str
    unit: str
    better: Better | None
    how: str
    potentials: int
    test: str = ""

    @property
    def text(self) -> str:
        """Symbol and unit."""
        return f"{self.symbol} ({self.unit})" if self.unit else self.symbol


def _undivided(_: Row) -> str:
    return ""


@dataclass(frozen=True)
class Quantity:
    """One quantity of a comparison.

    Attributes:
        name: As the user calls it.
        command: Command whose `result.json` has it.
        column: Column of its rows; gives the unit, and whether less is better.
        symbol: Heading; that of the column if it is empty.
        how: How the rows of one potential become its value, in words; empty where there is only one row.
        reduce: Computes it from the values of the rows.
        of: Value of a row; that of the column if it is None. A result of None means that the row has no value.
        part: Divides the rows into quantities of their own, such as by displacement; empty for those of none.
        unit: Unit, where it is not that of the column.
        better: Where it is not that of the column.
        of_training: Whether it belongs to the potential alone, whatever frames were tested.
        over: Computes the value of each item from all rows, where an item is not one row.
    """

    name: str
    command: str
    column: str
    symbol: str = ""
    how: str = ""
    reduce: Callable[[Sequence[float]], float] = mean
    of: Callable[[Row], float | None] | None = None
    part: Callable[[Row], str] = _undivided
    unit: str | None = None
    better: Better | None = None
    of_training: bool = False
    over: Callable[[Sequence[Row]], Items] | None = None

    def values(self, rows: Sequence[Row]) -> Mapping[str, Items]:
        """Return by part and item the values of rows; None where there is none."""
        if self.over is not None:
            return {"": self.over(rows)}
        found: dict[str, dict[str, float | None]] = defaultdict(dict)
        for row in rows:
            value = number(row.get(self.column)) if self.of is None else self.of(row)
            found[self.part(row)][name_of_row(self.command, row)] = value
        return found


def _judged_slope(row: Row) -> float | None:
    """The slope of a trajectory that is long enough for an error of the slope."""
    return None if number(row.get("slope_error")) is None else number(row.get("slope"))


def _not_conserved(row: Row) -> float | None:
    verdict = row.get("verdict")
    return float(verdict != "conserved") if isinstance(verdict, str) else None


def _frequency_error(row: Row) -> float | None:
    found, known = number(row.get("max_frequency")), number(row.get("max_frequency reference"))
    return None if found is None or known is None else abs(found - known)


def _broken(row: Row) -> float | None:
    return float(row["verdict"] == "fail") if row.get("verdict") in {"pass", "fail"} else None


def _displacement(row: Row) -> str:
    """The displacement of a row of phonons; empty if the study has only one."""
    return _crystal(row)[1]


def _crystal(row: Row) -> tuple[str, str]:
    """The crystal and the displacement of a row of phonons.

    >>> _crystal({"crystal": "mgo@0.01 Å"}), _crystal({"crystal": "mgo"})
    (('mgo', '0.01 Å'), ('mgo', ''))
    """
    whole = str(row.get("crystal", ""))
    name, at, size = whole.rpartition("@")
    return (name, size) if at and size.endswith(" Å") else (whole, "")


def _range_over_displacements(rows: Sequence[Row]) -> Items:
    """By crystal, the range of the true ω_max over the displacements, in per cent of that at the first.

    None where a displacement has no value. A crystal with only one displacement is left out.
    """
    found: dict[str, list[float | None]] = defaultdict(list)
    for row in rows:
        crystal, size = _crystal(row)
        if size:
            found[crystal].append(number(row.get("true_max_frequency")))
    ranges: dict[str, float | None] = {}
    for crystal, values in found.items():
        known = [value for value in values if value is not None]
        if len(values) > 1:
            complete = len(known) == len(values) and known[0] > 0
            ranges[crystal] = 100 * (max(known) - min(known)) / known[0] if complete else None
    return ranges


def _device(row: Row) -> str:
    processes = number(row.get("processes")) or 1
    return f"{row.get('device', '')}{f' × {processes:.0f}' if processes > 1 else ''}"


_ROWS = "mean over the {}"
_LARGEST = "largest of the trajectories"
TABLE_1: tuple[Quantity, ...] = (
    *(
        Quantity(f"{target}_mae", "mae", f"{target}_mae", symbol, "mean absolute error over all frames")
        for target, symbol in (("energy", "E MAE"), ("forces", "F MAE"), ("stress", "S MAE"))
    ),
    *(
        Quantity(
            f"{of}_{target}_mae",
            "train",
            f"{of}_{target}_mae",
            symbol,
            "mean absolute error at the end of training",
        )
        for of in ("test", "validation")
        for target, symbol in (
            ("energy", f"E MAE, {of}"),
            ("forces", f"F MAE, {of}"),
            ("stress", f"S MAE, {of}"),
        )
    ),
    Quantity(
        "drift",
        "md-drift",
        "slope",
        "|drift|",
        "mean |drift| over the trajectories",
        mean_size,
        _judged_slope,
        better="less",
    ),
    Quantity("wander", "md-drift", "wander", "", _LARGEST, max),
    Quantity("walk", "md-drift", "walk", "", _LARGEST, max),
    Quantity("angular_change", "md-drift", "angular_change", "", _LARGEST, max),
    Quantity(
        "not_conserved",
        "md-drift",
        "verdict",
        "not conserved",
        "number of trajectories without the verdict conserved",
        sum,
        _not_conserved,
        better="less",
    ),
    Quantity(
        "phonon_error",
        "phonons",
        "max_frequency",
        "ω_max MAE",
        "mean |ω_max − reference| over the crystals with a reference",
        mean,
        _frequency_error,
        _displacement,
        better="less",
    ),
    Quantity(
        "phonon_rmse",
        "phonons",
        "frequency RMSE",
        "ω RMSE",
        _ROWS.format("crystals with a reference"),
        part=_displacement,
    ),
    Quantity(
        "displacement_range",
        "phonons",
        "true_max_frequency",
        "ω_max range",
        "largest minus smallest true ω_max over the displacements, relative to that at the first one,"
        " as mean over the crystals",
        unit="%",
        better="less",
        over=_range_over_displacements,
    ),
    Quantity("srme", "conductivity", "SRME", "", _ROWS.format("materials and temperatures")),
    Quantity("bulk_modulus", "elastic", "bulk_modulus", "", _ROWS.format("crystals")),
    Quantity(
        "laws_broken",
        "check",
        "verdict",
        "laws broken",
        "number of broken laws of those tested",
        sum,
        _broken,
        better="less",
    ),
    Quantity("parameters", "train", "parameters", "", "", of_training=True),
    Quantity(
        "ms_per_step",
        "train",
        "ms_per_step",
        "",
        "time of the training with its validations, divided by the optimiser steps",
        part=_device,
        of_training=True,
    ),
    Quantity(
        "md_ms_per_step",
        "md-drift",
        "ms_per_step",
        "",
        "mean over the trajectories of the time of a step of dynamics; of a batch, the share by number of atoms",
        part=_device,
    ),
)
"""What the table shows by default, in this order."""
_PLACE = {quantity.name: place for place, quantity in enumerate(TABLE_1)}


def place_of(name: str) -> int:
    """Return the place of a quantity in the table; those that are not declared come last."""
    return _PLACE.get(name, len(_PLACE))


def quantities_of(command: str, rows: Sequence[Row], columns: Sequence[str]) -> Iterator[Quantity]:
    """Yield the quantities of `TABLE_1` that a command measures, and one for each other column with numbers.

    Args:
        command: Of esen.
        rows: Of one potential.
        columns: Names of all columns.
    """
    declared = [quantity for quantity in TABLE_1 if quantity.command == command]
    yield from declared
    if command == CHECK:
        yield from map(_law, rows)
        return
    names = {"potential", *KEYS.get(command, ())}
    how = "mean over the rows of the result" if len(rows) > 1 else ""
    part = _displacement if command == "phonons" else _undivided
    for column in columns:
        if column not in names and any(number(row.get(column)) is not None for row in rows):
            yield Quantity(f"{command}.{column}", command, column, how=how, part=part)


def _law(row: Row) -> Quantity:
    """What was found of a law, which has its own unit."""
    unit, law = str(row.get("unit") or ""), str(row.get("law"))
    name = f"{CHECK}.{law} ({unit})" if unit else f"{CHECK}.{law}"
    found = {law: number(row.get("value"))}
    return Quantity(name, CHECK, "value", law, unit=unit, better="less", over=lambda rows: found)


def relevant(command: str, rows: Sequence[Row]) -> list[Row]:
    """Return the rows that a quantity of a potential is made of: of `mae`, that of all frames."""
    return [row for row in rows if row.get("kind", "all") == "all"] if command == "mae" else list(rows)


def name_of_row(command: str, row: Row) -> str:
    """Return what a row is about."""
    keys = KEYS.get(command, ("name",))
    return " ".join(str(row[key]) for key in keys if row.get(key) not in {None, ""})
