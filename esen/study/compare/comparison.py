"""The comparison: one row per variant, with means over seeds and paired differences to the base."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from esen.errors import InputError
from esen.recipe.mistakes import nearest
from esen.study.compare.correlation import Correlation, Point
from esen.study.compare.measurements import Measurement, Measurements
from esen.study.compare.quantities import Heading, mean, place_of
from esen.study.compare.statistics import Difference, paired_difference, sample_deviation
from esen.text import first_few

DEFAULT = "default"
"""Name of the base where nothing else is known."""
_TARGETS = ("energy", "forces", "stress")
_COMMA = re.compile(r",(?![^\[(]*[\])])")
"""A comma between names; names of tests in brackets may hold commas."""
_MOST_NAMED = 8


@dataclass(frozen=True, eq=False)
class Cell:
    """One quantity of one variant.

    Attributes:
        values: By seed; None stands for a potential without a seed.
        sources: The file of each value.
        missing: By seed, items that other potentials have and this value leaves out.
        difference: To the base; None if there is none.
    """

    values: Mapping[int | None, float]
    sources: Mapping[int | None, Path]
    missing: Mapping[int | None, tuple[str, ...]] = field(default_factory=dict)
    difference: Difference | None = None

    @property
    def n(self) -> int:
        """Number of potentials with a value."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return mean(list(self.values.values()))

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation, with n − 1; None for one value."""
        return sample_deviation(list(self.values.values()))

    def json(self) -> dict[str, Any]:
        """Return everything as plain data, with seeds as texts; `none` is a potential without a seed."""
        found: dict[str, Any] = {"n": self.n, "mean": self.mean, "deviation": self.deviation}
        for name, by_seed in (
            ("values", self.values),
            ("sources", self.sources),
            ("missing_items", {seed: names for seed, names in self.missing.items() if names}),
        ):
            found[name] = {"none" if seed is None else str(seed): one for seed, one in by_seed.items()}
        if (one := self.difference) is None:
            return found | {"difference": None}
        low, high = one.ends
        return found | {
            "difference": {
                "seeds": one.seeds,
                "mean": one.mean,
                "low": low,
                "high": high,
                "half_width": one.half_width,
                "relative_percent": one.relative,
                "relative_half_width_percent": one.relative_half_width,
                "within_interval": one.within,
            }
        }


@dataclass(frozen=True, eq=False)
class Line:
    """One variant of one system.

    Attributes:
        system: Name of the system; empty if there is only one.
        variant: Name of the variant.
        seeds: Seeds of its potentials; None stands for a potential without a seed.
        is_base: Whether the others are compared with it.
        cells: By name of the quantity.
    """

    system: str
    variant: str
    seeds: tuple[int | None, ...]
    is_base: bool
    cells: Mapping[str, Cell]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Variants against quantities.

    Attributes:
        headings: All quantities that were found.
        shown: Names of those that tables show, in their order.
        lines: One per system and variant.
        bases: Name of the base by system; systems without one are left out.
        correlations: Of pairs of quantities, by system.
        remarks: What was left out, and why values are missing.
    """

    headings: Sequence[Heading]
    shown: Sequence[str]
    lines: Sequence[Line]
    bases: Mapping[str, str]
    correlations: Sequence[Correlation]
    remarks: Sequence[str]

    @property
    def columns(self) -> list[Heading]:
        """The quantities that tables show, in their order."""
        by_name = {heading.name: heading for heading in self.headings}
        return [by_name[name] for name in self.shown]

    @property
    def systems(self) -> dict[str, list[Line]]:
        """The variants of each system."""
        found: dict[str, list[Line]] = {}
        for line in self.lines:
            found.setdefault(line.system, []).append(line)
        return found

    def json(self) -> dict[str, Any]:
        """Return everything as plain data but the tables: all quantities, not only those that the tables show."""
        return {
            "base": self.bases,
            "quantities": [asdict(heading) for heading in self.headings],
            "in_tables": self.shown,
            "variants": [
                {
                    "system": line.system,
                    "variant": line.variant,
                    "seeds": line.seeds,
                    "n": len(line.seeds),
                    "is_base": line.is_base,
                    "cells": {name: cell.json() for name, cell in line.cells.items()},
                }
                for line in self.lines
            ],
            "correlations": [one.json() for one in self.correlations],
            "remarks": self.remarks,
        }


def compare(
    measured: Measurements,
    base: str | None = None,
    *,
    columns: Sequence[str] = (),
    sort: str | None = None,
    correlate: Sequence[tuple[str, str]] = (),
) -> Comparison:
    """Compare variants over their seeds.

    Args:
        measured: As `read_measurements` returns it.
        base: Variant that the others are compared with; None: that of the study, or `default`, or the only recipe
            without changes.
        columns: Quantities of the tables, by name; empty: those of `TABLE_1` that were measured.
        sort: Quantity by which the rows are sorted, the best first; None: in the order of the study.
        correlate: Pairs of quantities; empty: the energy error against drift and against the phonon error.

    Raises:
        InputError: The base or a quantity is not known.
    """
    headings = {heading.name: heading for heading in _headings(measured)}
    names = list(headings)
    shown = [name for text in columns for name in _find_quantities(text, names, "--columns")]
    variants = list(dict.fromkeys(variant for _, variant, _ in measured.potentials))
    if base is not None and base not in variants:
        raise InputError(_unknown(f"--base {base}", "variant", base, variants))
    lines = _lines(measured, _bases(measured, base))
    if sort is not None:
        lines = _sorted(lines, headings[_only(sort, names, "--sort")])
    comparison = Comparison(
        headings=list(headings.values()),
        shown=list(dict.fromkeys(shown)) or _default_columns(names),
        lines=lines,
        bases={line.system: line.variant for line in lines if line.is_base},
        correlations=[],
        remarks=[],
    )
    pairs = [(_only(x, names, "--correlate"), _only(y, names, "--correlate")) for x, y in correlate]
    correlations: list[Correlation] = []
    remarks = list(measured.remarks)
    for x, y in pairs or _default_pairs(names):
        found = list(_correlations(measured, comparison, headings[x], headings[y]))
        correlations += found
        if pairs and not found:
            remarks.append(f"no potential has both {x} and {y}, so that they have no correlation")
    remarks += [
        f"{system or 'no differences'}: no base; name one of {first_few(variants)} by --base"
        for system, mine in comparison.systems.items()
        if system not in comparison.bases and len(mine) > 1
    ]
    return replace(comparison, correlations=correlations, remarks=remarks)


def split_names(text: str) -> list[str]:
    """Split names of quantities at commas, but not within brackets.

    >>> split_names("drift [a, b],wander, laws_broken")
    ['drift [a, b]', 'wander', 'laws_broken']
    """
    return [name.strip() for name in _COMMA.split(text) if name.strip()]


def _find_quantities(text: str, names: Sequence[str], option: str) -> list[str]:
    """Return the quantities that the user means: the one of this name, or those of all its tests.

    Raises:
        InputError: There is none.
    """
    if text in names:
        return [text]
    found = [name for name in names if _stem(name) == text]
    if not found:
        raise InputError(_unknown(f"{option} {text}", "quantity", text, names))
    return found


def _only(text: str, names: Sequence[str], option: str) -> str:
    """Return the one quantity that the user means.

    Raises:
        InputError: There is none, or several tests have it.
    """
    found = _find_quantities(text, names, option)
    if len(found) > 1:
        raise InputError(f"{option} {text}: several tests have it; give one of {', '.join(found)}")
    return found[0]


def _stem(name: str) -> str:
    """Return the name of a quantity without its test.

    >>> _stem("drift [nve, 64]")
    'drift'
    """
    return name.partition(" [")[0]


def _unknown(given: str, kind: str, word: str, known: Sequence[str]) -> str:
    like = nearest(word, known)
    choices = sorted(known, key=place_of)
    cure = f"did you mean {like}?" if like else f"expected one of {first_few(choices, _MOST_NAMED)}"
    more = "; --columns list shows all" if kind == "quantity" else ""
    return f"{given}: no such {kind}; {cure}{more}"


def _headings(measured: Measurements) -> list[Heading]:
    """Return the quantities in the order of `TABLE_1`, then the others as they come, with distinct symbols."""
    by_name: dict[str, list[Measurement]] = {}
    for one in measured.measurements:
        by_name.setdefault(one.quantity, []).append(one)
    taken: set[str] = set()
    headings = []
    for name in sorted(by_name, key=lambda name: place_of(_stem(name))):
        mine = by_name[name]
        first = mine[0]
        heading = Heading(name, first.symbol, first.unit, first.better, first.how, len(mine), first.test)
        headings.append(replace(heading, symbol=name) if heading.text in taken else heading)
        taken.add(heading.text)
    return headings


def _default_columns(names: Sequence[str]) -> list[str]:
    """Return the declared quantities; errors at the end of a training only where no command measured them since."""
    stems = {_stem(name) for name in names}
    left_out: set[str] = set()
    for target in _TARGETS:
        errors = [f"{of}{target}_mae" for of in ("", "test_", "validation_")]
        left_out |= {*[name for name in errors if name in stems][1:]}
    return [name for name in names if _stem(name) not in left_out and place_of(_stem(name)) < place_of("")]


def _default_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the energy error against drift and the error of phonons, of all tests, as far as they were measured."""

    def first(*stems: str) -> list[str]:
        found = ([name for name in names if _stem(name) == stem] for stem in stems)
        return next((mine for mine in found if mine), [])

    x = first("energy_mae", "test_energy_mae")
    return [(x[0], y) for y in (*first("drift"), *first("phonon_error", "phonon_rmse")) if x]


def _bases(measured: Measurements, base: str | None) -> dict[str, str]:
    """Return the base of each system that has one."""
    systems: dict[str, dict[str, None]] = {}
    for system, variant, _ in measured.potentials:
        systems.setdefault(system, {})[variant] = None
    plain = {one.variant for one in measured.measurements if one.unchanged}
    found = {}
    for system, variants in systems.items():
        unchanged = [variant for variant in variants if variant in plain]
        only = unchanged[0] if len(unchanged) == 1 and len(variants) > 1 else None
        wanted = (base,) if base is not None else (measured.bases.get(system), DEFAULT, only)
        chosen = next((name for name in wanted if name is not None and name in variants), None)
        if chosen is not None:
            found[system] = chosen
    return found


def _lines(measured: Measurements, bases: Mapping[str, str]) -> list[Line]:
    """Group the measurements by system and variant: the base first, then in the order of the studies."""
    seeds: dict[tuple[str, str], list[int | None]] = {}
    for system, variant, seed in measured.potentials:
        seeds.setdefault((system, variant), []).append(seed)
    found: dict[tuple[str, str], dict[str, dict[int | None, Measurement]]] = {key: {} for key in seeds}
    for one in measured.measurements:
        found[one.system, one.variant].setdefault(one.quantity, {})[one.seed] = one
    place = {variant: number for number, variant in enumerate(measured.variants)}
    systems = list(dict.fromkeys(system for system, _ in found))

    def order(key: tuple[str, str]) -> tuple[int, bool, int]:
        system, variant = key
        return systems.index(system), bases.get(system) != variant, place.get(variant, len(place))

    lines = []
    for system, variant in sorted(found, key=order):
        base = bases.get(system)
        reference = {} if base in {None, variant} else found[system, str(base)]
        lines.append(
            Line(
                system=system,
                variant=variant,
                seeds=tuple(sorted(seeds[system, variant], key=lambda seed: -1 if seed is None else seed)),
                is_base=base == variant,
                cells={
                    name: _cell(mine, reference.get(name, {}))
                    for name, mine in found[system, variant].items()
                },
            )
        )
    return lines


def _cell(mine: Mapping[int | None, Measurement], base: Mapping[int | None, Measurement]) -> Cell:
    values = {seed: one.value for seed, one in mine.items()}
    return Cell(
        values=values,
        sources={seed: one.source for seed, one in mine.items()},
        missing={seed: one.missing for seed, one in mine.items()},
        difference=paired_difference(values, {seed: one.value for seed, one in base.items()}),
    )


def _sorted(lines: Sequence[Line], by: Heading) -> list[Line]:
    """Sort the rows of each system by a quantity, the best first and those without it last."""
    systems = list(dict.fromkeys(line.system for line in lines))
    sign = -1 if by.better == "more" else 1

    def order(line: Line) -> tuple[int, bool, float]:
        cell = line.cells.get(by.name)
        return systems.index(line.system), cell is None, 0.0 if cell is None else sign * cell.mean

    return sorted(lines, key=order)


def _correlations(
    measured: Measurements, comparison: Comparison, x: Heading, y: Heading
) -> Iterator[Correlation]:
    """Yield the correlation of two quantities for each system in which a potential has both.

    Whether a potential conserves energy is judged by the test that the quantities are from, if it is one of `md-drift`,
    and otherwise by all of its tests.
    """
    for system, lines in comparison.systems.items():
        points = []
        for line in (line for line in lines if {x.name, y.name} <= line.cells.keys()):
            first, second = line.cells[x.name].values, line.cells[y.name].values
            for seed in (seed for seed in first if seed in second):
                verdicts = measured.conserved.get((system, line.variant, seed), {})
                tests = {x.test, y.test} & verdicts.keys() or verdicts.keys()
                conserved = all(verdicts[test] for test in tests) if verdicts else None
                points.append(Point(line.variant, seed, first[seed], second[seed], conserved))
        if points:
            yield Correlation(system, x, y, points)
