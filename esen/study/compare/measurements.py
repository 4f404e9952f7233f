"""Measurements: one number of one potential each, from the records of all commands."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from esen.errors import InputError
from esen.study.compare.quantities import (
    CHECK,
    KEYS,
    Better,
    Quantity,
    Row,
    declared,
    name_of_row,
    number,
    range_over_displacements,
    relevant,
)
from esen.study.compare.records import Record, Who, read_records
from esen.study.compare.tests import with_tests
from esen.study.report.stored import StoredColumn
from esen.text import first_few

RANGE = "displacement_range"
_SAME = 1e-9
"""Relative difference up to which two values of the same measurement are the same."""


@dataclass(frozen=True)
class Measurement:
    """One quantity of one potential.

    Attributes:
        system: Name of the system in a study of several; otherwise empty.
        variant: Name of the variant.
        seed: Seed of the training; None if the potential has none.
        quantity: Name of the quantity, with the test and the part in brackets if there are several.
        symbol: Its heading.
        unit: Its unit; empty for counts and ratios.
        better: Whether less or more of it is better; None: neither.
        value: The number.
        source: The `result.json` that it is from.
        how: How the rows of the potential became this number; empty if it was one row.
        items: What the rows are about, such as crystals.
        missing: Items for which other potentials have a value, and this one has none.
        content: Hash of the weights, or what else identifies the potential.
        unchanged: Whether the variant is known to be its recipe as it stands.
        test: Name of the test; empty if the command was run as only one.
        part: Which rows it is made of, such as those of one displacement.
    """

    system: str
    variant: str
    seed: int | None
    quantity: str
    symbol: str
    unit: str
    better: Better | None
    value: float
    source: Path
    how: str = ""
    items: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    content: str = ""
    unchanged: bool = False
    test: str = ""
    part: str = ""

    @property
    def potential(self) -> tuple[str, str, int | None]:
        """System, variant and seed."""
        return self.system, self.variant, self.seed


@dataclass(frozen=True, eq=False)
class Measurements:
    """All measurements beneath some folders.

    Attributes:
        measurements: Each quantity of a potential once.
        conserved: By system, variant and seed, and then by test with `md-drift`, whether all trajectories of the
            potential have the verdict conserved.
        potentials: All potentials, also those without a measurement.
        variants: Variants in the order of the studies.
        base: Name of the base of the studies; None if it is not known.
        remarks: What was left out, and why a value is missing.
    """

    measurements: Sequence[Measurement]
    conserved: Mapping[tuple[str, str, int | None], Mapping[str, bool]]
    potentials: Sequence[tuple[str, str, int | None]] = ()
    variants: Sequence[str] = ()
    base: str | None = None
    remarks: Sequence[str] = ()


def read_measurements(folders: Sequence[Path]) -> Measurements:
    """Read the results of all commands beneath folders: runs, tests, and studies, in any mixture.

    Raises:
        InputError: A folder is missing or holds no result; a file is damaged; a quantity has two units, or a potential
            two values of it in the same test.
    """
    found = read_records(folders)
    records = with_tests(found.records)
    remarks = list(found.remarks)
    measured = [one for record in records for one in _measured(record)]
    _check_units(measured)
    measured = _named(measured)
    once = _complete(_once(measured, remarks.append))
    remarks += _incomplete(once)
    conserved: dict[tuple[str, str, int | None], dict[str, bool]] = defaultdict(dict)
    for record in records:
        if record.command == "md-drift" and record.rows:
            kept = all(row.get("verdict") == "conserved" for row in record.rows)
            conserved[record.who.key][record.test] = kept
    potentials = [*(who.key for who in found.cells), *(record.who.key for record in records)]
    return Measurements(
        measurements=once,
        conserved=conserved,
        potentials=list(dict.fromkeys(potentials)),
        variants=found.variants,
        base=found.base,
        remarks=[*remarks, *_failures(records)],
    )


def _named(measured: Sequence[Measurement]) -> list[Measurement]:
    """Add the test and the part to the names of quantities of which there are several."""
    tests: dict[str, set[str]] = defaultdict(set)
    parts: dict[str, set[str]] = defaultdict(set)
    for one in measured:
        tests[one.quantity].add(one.test)
        parts[one.quantity].add(one.part)
    named = []
    for one in measured:
        test = one.test if len(tests[one.quantity]) > 1 else ""
        part = one.part if len(parts[one.quantity]) > 1 else ""
        which = ", ".join(word for word in (test, part) if word)
        more = f" [{which}]" if which else ""
        named.append(replace(one, quantity=f"{one.quantity}{more}", symbol=f"{one.symbol}{more}"))
    return named


def _measured(record: Record) -> Iterator[Measurement]:
    """Yield the declared quantities of a record, and the means of all other numeric columns."""
    rows = relevant(record.command, record.rows)
    if record.command == CHECK:
        yield from _laws(record)
    for quantity in (*declared(record.command), *_undeclared(record, rows)):
        if quantity.name == RANGE:
            yield from _range(record, quantity, rows)
            continue
        parts: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            parts["" if quantity.part is None else quantity.part(row)].append(row)
        for part, mine in parts.items():
            values = {name_of_row(record.command, row): quantity.value(row) for row in mine}
            one = _measurement(record, quantity, values, part)
            if one is not None:
                yield one


def _measurement(
    record: Record, quantity: Quantity, values: Mapping[str, float | None], part: str = ""
) -> Measurement | None:
    """Reduce the values of the rows of a record; None if no row has one."""
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        return None
    column = record.columns.get(quantity.column, StoredColumn(name=quantity.column))
    return Measurement(
        *record.who.key,
        quantity=quantity.name,
        symbol=quantity.symbol or column.symbol or column.name,
        unit=column.unit if quantity.unit is None else quantity.unit,
        better=quantity.better or column.better,
        value=quantity.reduce(list(known.values())),
        source=record.source,
        how=quantity.how,
        items=tuple(known),
        missing=tuple(name for name in values if name not in known),
        content=record.content,
        unchanged=record.who.unchanged,
        test="" if quantity.of_training else record.test,
        part=part,
    )


def _undeclared(record: Record, rows: Sequence[Row]) -> Iterator[Quantity]:
    """Yield a quantity for each column with numbers that names nothing and that no declared quantity shows."""
    keys = {"potential", *KEYS.get(record.command, ())}
    split = next(
        (quantity.part for quantity in declared(record.command) if record.command == "phonons"), None
    )
    for name in record.columns:
        if name in keys or record.command == CHECK or all(number(row.get(name)) is None for row in rows):
            continue
        how = "mean over the rows of the result" if len(rows) > 1 else ""
        yield Quantity(f"{record.command}.{name}", record.command, name, how=how, part=split)


def _laws(record: Record) -> Iterator[Measurement]:
    """Yield what was found of each law, each with its own unit."""
    for row in record.rows:
        unit, law = str(row.get("unit") or ""), str(row.get("law"))
        name = f"{CHECK}.{law} ({unit})" if unit else f"{CHECK}.{law}"
        quantity = Quantity(name, CHECK, "value", law, unit=unit, better="less")
        one = _measurement(record, quantity, {law: number(row.get("value"))})
        if one is not None:
            yield one


def _range(record: Record, quantity: Quantity, rows: Sequence[Row]) -> Iterator[Measurement]:
    one = _measurement(record, quantity, range_over_displacements(rows))
    if one is not None:
        yield one


def _check_units(measured: Sequence[Measurement]) -> None:
    """Refuse a quantity that has different units in two files.

    Raises:
        InputError: It does.
    """
    first: dict[str, Measurement] = {}
    for one in measured:
        other = first.setdefault(one.quantity, one)
        if other.unit != one.unit:
            raise InputError(
                f"{one.quantity} is in {one.unit or 'no unit'} in {one.source} but in {other.unit or 'no unit'} in"
                f" {other.source}; compare results of the same version of esen"
            )


def _once(measured: Sequence[Measurement], remark: Callable[[str], None]) -> list[Measurement]:
    """Return each measurement once, and say which were there twice.

    Raises:
        InputError: Two values of the same measurement differ.
    """
    kept: dict[tuple[str, str, int | None, str], Measurement] = {}
    doubled: dict[tuple[Path, Path], str] = {}
    for one in measured:
        other = kept.setdefault((*one.potential, one.quantity), one)
        if other is one:
            continue
        who = Who(one.system, one.variant, one.seed)
        if not math.isclose(one.value, other.value, rel_tol=_SAME, abs_tol=0.0):
            weights = " (with other weights)" if one.content != other.content else ""
            raise InputError(
                f"{one.quantity} of {who} is {one.value:.6g} {one.unit} in {one.source}{weights} but"
                f" {other.value:.6g} {other.unit} in {other.source}; leave one of them out"
            )
        doubled.setdefault((other.source, one.source), str(who))
    for (first, second), name in doubled.items():
        remark(f"{second} has the same values of {name} as {first}; they count once")
    return list(kept.values())


def _complete(measured: Sequence[Measurement]) -> list[Measurement]:
    """Add to what is missing the items that only other potentials have."""
    items: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for one in measured:
        items[one.system, one.quantity] |= dict.fromkeys(one.items)
    return [
        replace(
            one,
            missing=tuple(name for name in items[one.system, one.quantity] if name not in one.items),
        )
        for one in measured
    ]


def _incomplete(measured: Sequence[Measurement]) -> list[str]:
    """Say which values are means over fewer items than those of other potentials, one line per potential and file."""
    lines: dict[tuple[tuple[str, str, int | None], Path, tuple[str, ...]], list[str]] = defaultdict(list)
    for one in measured:
        if one.missing and "." not in one.quantity:
            lines[one.potential, one.source, one.missing].append(one.quantity)
    return [
        f"{Who(*who)}: {first_few(names)} without {first_few(missing)}, which other potentials have; marked by †"
        for (who, _, missing), names in lines.items()
    ]


def _failures(records: Sequence[Record]) -> list[str]:
    """Say which rows of results are failures, one line per potential and command."""
    lines = []
    for record in records:
        failed = {
            name_of_row(record.command, row): str(row.get("failure") or row.get("failure_reason"))
            for row in record.rows
            if row.get("failure") or row.get("failure_reason")
        }
        for reason in dict.fromkeys(failed.values()):
            names = [name for name, why in failed.items() if why == reason]
            lines.append(f"{record.who}: {record.command} of {first_few(names)} failed ({reason})")
    return lines
