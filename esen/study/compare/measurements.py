"""Measurements: one number of one potential each, from the records of all commands."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from esen.errors import InputError
from esen.study.compare.quantities import Better, Items, Quantity, name_of_row, quantities_of, relevant
from esen.study.compare.records import Key, Record, read_records
from esen.study.compare.tests import with_tests
from esen.study.report.stored import StoredColumn, shown_key
from esen.text import first_few

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
        items: What the rows with a value are about, such as crystals; empty if there is no value.
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
    def potential(self) -> Key:
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
        bases: Name of the base by system, as far as a study says it.
        remarks: What was left out, and why a value is missing.
    """

    measurements: Sequence[Measurement]
    conserved: Mapping[Key, Mapping[str, bool]]
    potentials: Sequence[Key] = ()
    variants: Sequence[str] = ()
    bases: Mapping[str, str] = field(default_factory=dict)
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
    measured = _complete(_once(_named(measured), remarks))
    remarks += _incomplete(measured)
    conserved: dict[Key, dict[str, bool]] = defaultdict(dict)
    for record in records:
        if record.command == "md-drift" and record.rows:
            kept = all(row.get("verdict") == "conserved" for row in record.rows)
            conserved[record.who.key][record.test] = kept
    potentials = [*(who.key for who in found.cells), *(record.who.key for record in records)]
    return Measurements(
        measurements=[one for one in measured if one.items],
        conserved=conserved,
        potentials=list(dict.fromkeys(potentials)),
        variants=found.variants,
        bases=found.bases,
        remarks=[*remarks, *_failures(records)],
    )


def _measured(record: Record) -> Iterator[Measurement]:
    """Yield the declared quantities of a record, and the means of all other numeric columns.

    A declared quantity without a value has no items.
    """
    rows = relevant(record.command, record.rows)
    for quantity in quantities_of(record.command, rows, list(record.columns)):
        for part, values in quantity.values(rows).items():
            yield _measurement(record, quantity, values, part)


def _measurement(record: Record, quantity: Quantity, values: Items, part: str) -> Measurement:
    """Reduce the values of the rows of a record."""
    known = {name: value for name, value in values.items() if value is not None}
    column = record.columns.get(quantity.column, StoredColumn(name=quantity.column))
    return Measurement(
        *record.who.key,
        quantity=quantity.name,
        symbol=quantity.symbol or column.symbol or column.name,
        unit=column.unit if quantity.unit is None else quantity.unit,
        better=quantity.better or column.better,
        value=quantity.reduce(list(known.values())) if known else math.nan,
        source=record.source,
        how=quantity.how,
        items=tuple(known),
        content=record.content,
        unchanged=record.who.unchanged,
        test="" if quantity.of_training else record.test,
        part=part,
    )


def _named(measured: Sequence[Measurement]) -> list[Measurement]:
    """Add the test and the part to the names of quantities of which there are several, and else the part to `how`."""
    tests: dict[str, set[str]] = defaultdict(set)
    parts: dict[str, set[str]] = defaultdict(set)
    for one in measured:
        if one.items:
            tests[one.quantity].add(one.test)
            parts[one.quantity].add(one.part)
    named = []
    for one in measured:
        test = one.test if len(tests[one.quantity]) > 1 else ""
        part = one.part if len(parts[one.quantity]) > 1 else ""
        which = ", ".join(word for word in (test, part) if word)
        more = f" [{which}]" if which else ""
        how = f"{one.how} ({one.part})" if one.how and one.part and not part else one.how
        named.append(replace(one, quantity=f"{one.quantity}{more}", symbol=f"{one.symbol}{more}", how=how))
    return named


def _check_units(measured: Sequence[Measurement]) -> None:
    """Refuse a quantity that has different units in two files.

    Raises:
        InputError: It does.
    """
    first: dict[str, Measurement] = {}
    for one in (one for one in measured if one.items):
        other = first.setdefault(one.quantity, one)
        if other.unit != one.unit:
            raise InputError(
                f"{one.quantity} is in {one.unit or 'no unit'} in {one.source} but in {other.unit or 'no unit'} in"
                f" {other.source}; compare results of the same version of esen"
            )


def _once(measured: Sequence[Measurement], remarks: list[str]) -> list[Measurement]:
    """Return each measurement once, and remark which were there twice.

    Raises:
        InputError: Two values of the same measurement differ.
    """
    kept: dict[tuple[Key, str], Measurement] = {}
    doubled: dict[tuple[Path, Path], str] = {}
    for one in measured:
        other = kept.setdefault((one.potential, one.quantity), one)
        if not other.items:
            kept[one.potential, one.quantity] = one
        if other is one or not (one.items and other.items):
            continue
        who = shown_key(*one.potential)
        if not math.isclose(one.value, other.value, rel_tol=_SAME, abs_tol=0.0):
            weights = " (with other weights)" if one.content != other.content else ""
            raise InputError(
                f"{one.quantity} of {who} is {one.value:.6g} {one.unit} in {one.source}{weights} but"
                f" {other.value:.6g} {other.unit} in {other.source}; leave one of them out"
            )
        doubled.setdefault((other.source, one.source), who)
    remarks += [
        f"{second} has the same values of {who} as {first}; they count once"
        for (first, second), who in doubled.items()
    ]
    return list(kept.values())


def _complete(measured: Sequence[Measurement]) -> list[Measurement]:
    """Add the items for which other potentials of the system have a value, and this one has none."""
    items: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for one in measured:
        items[one.system, one.quantity] |= dict.fromkeys(one.items)
    return [
        replace(one, missing=tuple(name for name in items[one.system, one.quantity] if name not in one.items))
        for one in measured
    ]


def _incomplete(measured: Sequence[Measurement]) -> list[str]:
    """Say which values are missing, or are means over fewer items than those of other potentials."""
    quantities: dict[tuple[Key, tuple[str, ...]], list[str]] = defaultdict(list)
    for one in measured:
        if one.missing and "." not in one.quantity:
            quantities[one.potential, one.missing if one.items else ()].append(one.quantity)
    seeds: dict[tuple[str, str, str], list[int | None]] = defaultdict(list)
    for ((system, variant, seed), missing), names in quantities.items():
        words = f"{first_few(names)} without {first_few(missing)}" if missing else f"no {first_few(names)}"
        seeds[
            system, variant, f"{words}, which other potentials have{'; marked by †' * bool(missing)}"
        ].append(seed)
    return [
        f"{shown_key(system, variant, *mine)}: {words}" for (system, variant, words), mine in seeds.items()
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
