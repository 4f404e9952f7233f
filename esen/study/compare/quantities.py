"""Which quantities a comparison knows, and how the rows of one potential become one number.

What a quantity is called, its unit and whether less is better come from the `columns` of `result.json`. `TABLE_1`
declares what the table shows unless the user chooses, in its order. Every other numeric column is available under
`command.column`, as the mean over the rows.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Better = Literal["less", "more"]
Row = Mapping[str, Any]

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
        part: Divides the rows into quantities of their own, such as by displacement; None: it does not.
        unit: Unit, where it is not that of the column.
        better: Where it is not that of the column.
        of_training: Whether it belongs to the potential alone, whatever frames were tested.
    """

    name: str
    command: str
    column: str
    symbol: str = ""
    how: str = ""
    reduce: Callable[[Sequence[float]], float] = mean
    of: Callable[[Row], float | None] | None = None
    part: Callable[[Row], str] | None = None
    unit: str | None = None
    better: Better | None = None
    of_training: bool = False

    def value(self, row: Row) -> float | None:
        """Return the value of a row; None if it has none."""
        return number(row.get(self.column)) if self.of is None else self.of(row)


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
    _, at, size = str(row.get("crystal", "")).rpartition("@")
    return size if at and size.endswith(" Å") else ""


def without_displacement(crystal: str) -> str:
    """Return the name of a crystal in a study of displacements.

    >>> without_displacement("mgo@0.01 Å"), without_displacement("mgo")
    ('mgo', 'mgo')
    """
    name, at, size = crystal.rpartition("@")
    return name if at and size.endswith(" Å") else crystal


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
_DECLARED: Mapping[str, tuple[Quantity, ...]] = {
    command: tuple(quantity for quantity in TABLE_1 if quantity.command == command) for command in KEYS
}


def place_of(name: str) -> int:
    """Return the place of a quantity in the table; those that are not declared come last."""
    return _PLACE.get(name, len(_PLACE))


def declared(command: str) -> tuple[Quantity, ...]:
    """Return the quantities of `TABLE_1` that a command measures."""
    return _DECLARED.get(command, ())


def relevant(command: str, rows: Sequence[Row]) -> list[Row]:
    """Return the rows that a quantity of a potential is made of: of `mae`, that of all frames."""
    return [row for row in rows if row.get("kind", "all") == "all"] if command == "mae" else list(rows)


def name_of_row(command: str, row: Row) -> str:
    """Return what a row is about."""
    keys = KEYS.get(command, ("name",))
    return " ".join(str(row[key]) for key in keys if row.get(key) not in {None, ""})


def range_over_displacements(rows: Sequence[Row]) -> dict[str, float | None]:
    """Return by crystal the range of the true ω_max over the displacements, in per cent of that at the first.

    None where a displacement has no value; empty if there is only one displacement.
    """
    found: dict[str, list[float | None]] = defaultdict(list)
    for row in rows:
        if _displacement(row):
            found[without_displacement(str(row["crystal"]))].append(number(row.get("true_max_frequency")))
    ranges: dict[str, float | None] = {}
    for crystal, values in found.items():
        known = [value for value in values if value is not None]
        complete = len(known) == len(values) > 1 and known[0] > 0
        ranges[crystal] = 100 * (max(known) - min(known)) / known[0] if complete else None
        if len(values) < 2:
            del ranges[crystal]
    return ranges
