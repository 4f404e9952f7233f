"""The comparison: one row per variant, with means over seeds and paired differences to the base."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esen import __version__
from esen.errors import InputError
from esen.files import csv_text
from esen.recipe.mistakes import nearest
from esen.study.compare.correlation import Correlation, correlation_of
from esen.study.compare.measurements import Measurement, Measurements
from esen.study.compare.quantities import Better, mean, place_of
from esen.study.compare.statistics import CONFIDENCE, Difference, paired_difference, sample_deviation
from esen.text import first_few

if TYPE_CHECKING:
    from esen.study.compare.layout import Grid

DEFAULT = "default"
"""Name of the base where nothing else is known."""
_TARGETS = ("energy", "forces", "stress")
_COMMA = re.compile(r",(?![^\[(]*[\])])")
"""A comma between names; names of tests in brackets may hold commas."""
_MOST_NAMED = 8


@dataclass(frozen=True)
class Heading:
    """A quantity of the comparison.

    Attributes:
        name: As `--columns` takes it.
        symbol: Heading of its column.
        unit: Its unit; empty for counts and ratios.
        better: Whether less or more is better; None: neither.
        how: How the rows of one potential became one number; empty if it was one row.
        potentials: Number of potentials that have it.
    """

    name: str
    symbol: str
    unit: str
    better: Better | None
    how: str
    potentials: int

    @property
    def text(self) -> str:
        """Symbol and unit."""
        return f"{self.symbol} ({self.unit})" if self.unit else self.symbol


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
        """Return everything as plain data, with seeds as texts."""
        difference = self.difference
        return {
            "n": self.n,
            "mean": self.mean,
            "deviation": self.deviation,
            "values": {_seed_text(seed): value for seed, value in self.values.items()},
            "sources": {_seed_text(seed): path for seed, path in self.sources.items()},
            "missing_items": {_seed_text(seed): names for seed, names in self.missing.items() if names},
            "difference": None
            if difference is None
            else {
                "seeds": difference.seeds,
                "mean": difference.mean,
                "low": None if difference.half_width is None else difference.mean - difference.half_width,
                "high": None if difference.half_width is None else difference.mean + difference.half_width,
                "half_width": difference.half_width,
                "relative_percent": difference.relative,
                "relative_half_width_percent": difference.relative_half_width,
                "within_interval": difference.within,
            },
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
    def systems(self) -> list[str]:
        """Names of the systems."""
        return list(dict.fromkeys(line.system for line in self.lines))

    def json(self) -> dict[str, Any]:
        """Return everything as plain data: all quantities, not only those that the tables show.

        `tables` has the tables as they are shown, in the schema of `result.json`.
        """
        from esen.study.compare.layout import stored_tables

        return {
            "command": "compare",
            "version": __version__,
            "confidence": CONFIDENCE,
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
            "tables": stored_tables(self),
            "notes": self.notes(),
            "remarks": self.remarks,
        }

    def csv(self) -> str:
        """Return one row per system, variant and quantity that tables show, with full precision."""
        header = (
            "system",
            "variant",
            "quantity",
            "unit",
            "n",
            "mean",
            "deviation",
            "base",
            "n of difference",
        )
        more = ("difference", "low", "high", "difference (%)", "within interval")
        return csv_text((*header, *more), (row for line in self.lines for row in self._csv_rows(line)))

    def _csv_rows(self, line: Line) -> Iterator[list[object]]:
        for heading in self.columns:
            cell = line.cells.get(heading.name)
            known = {} if cell is None else cell.json()
            difference = known.get("difference") or {}
            ends = [
                difference.get(key) for key in ("mean", "low", "high", "relative_percent", "within_interval")
            ]
            count = len(difference["seeds"]) if difference else None
            yield [
                *(line.system, line.variant, heading.name, heading.unit, known.get("n", 0)),
                *(known.get("mean"), known.get("deviation"), self.bases.get(line.system), count, *ends),
            ]

    def tables(self, width: int | None = None) -> list["Grid"]:
        """Return tables for a terminal, each with as many quantities as fit into its width; None: with all of them."""
        from esen.study.compare.layout import grids

        return grids(self, width)

    def notes(self) -> list[str]:
        """Return what has to be known to read the tables, one line each."""
        from esen.study.compare.layout import notes

        return notes(self)

    def latex(self) -> str:
        """Return the tables in LaTeX, for the packages booktabs and xcolor."""
        from esen.study.compare.layout import latex

        return latex(self)

    def markdown(self) -> str:
        """Return the tables in Markdown."""
        from esen.study.compare.layout import markdown

        return markdown(self)


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
    headings = _headings(measured)
    names = [heading.name for heading in headings]
    shown = [name for text in columns for name in find_quantities(text, names, "--columns")]
    variants = dict.fromkeys(variant for _, variant, _ in measured.potentials)
    if base is not None and base not in variants:
        raise InputError(_unknown(f"--base {base}", "variant", base, list(variants)))
    bases = _bases(measured, base)
    lines = _lines(measured, bases)
    if sort is not None:
        [key, *others] = find_quantities(sort, names, "--sort")
        if others:
            raise InputError(f"--sort {sort}: several tests have it; give one of {', '.join([key, *others])}")
        lines = _sorted(lines, next(heading for heading in headings if heading.name == key))
    pairs = [(_only(x, names), _only(y, names)) for x, y in correlate] or _default_pairs(names)
    by_name = {heading.name: heading for heading in headings}
    remarks = list(measured.remarks)
    remarks += [
        f"{system or 'no differences'}: no base; name one of {first_few(list(variants))} by --base"
        for system in dict.fromkeys(line.system for line in lines)
        if system not in bases
    ]
    return Comparison(
        headings=headings,
        shown=list(dict.fromkeys(shown)) or _default_columns(names),
        lines=lines,
        bases=bases,
        correlations=[found for x, y in pairs for found in _correlations(measured, by_name[x], by_name[y])],
        remarks=remarks,
    )


def split_names(text: str) -> list[str]:
    """Split names of quantities at commas, but not within brackets.

    >>> split_names("drift [a, b],wander, laws_broken")
    ['drift [a, b]', 'wander', 'laws_broken']
    """
    return [name.strip() for name in _COMMA.split(text) if name.strip()]


def find_quantities(text: str, names: Sequence[str], option: str) -> list[str]:
    """Return the quantities that the user means: the one of this name, or those of all its tests.

    Raises:
        InputError: There is none.
    """
    if text in names:
        return [text]
    found = [name for name in names if name.partition(" [")[0] == text]
    if not found:
        raise InputError(_unknown(f"{option} {text}", "quantity", text, list(names)))
    return found


def _only(text: str, names: Sequence[str]) -> str:
    """Return the one quantity that the user means.

    Raises:
        InputError: There is none, or several tests have it.
    """
    found = find_quantities(text, names, "--correlate")
    if len(found) > 1:
        raise InputError(f"--correlate {text}: several tests have it; give one of {', '.join(found)}")
    return found[0]


def _unknown(given: str, kind: str, word: str, known: Sequence[str]) -> str:
    like = nearest(word, known)
    choices = sorted(known, key=place_of)
    cure = f"did you mean {like}?" if like else f"expected one of {first_few(choices, _MOST_NAMED)}"
    more = "; --columns list shows all" if kind == "quantity" else ""
    return f"{given}: no such {kind}; {cure}{more}"


def _headings(measured: Measurements) -> list[Heading]:
    """Return the quantities in the order of `TABLE_1`, then the others as they come."""
    by_name: dict[str, list[Measurement]] = {}
    for one in measured.measurements:
        by_name.setdefault(one.quantity, []).append(one)
    headings = [
        Heading(name, mine[0].symbol, mine[0].unit, mine[0].better, mine[0].how, len(mine))
        for name, mine in by_name.items()
    ]
    return sorted(headings, key=lambda heading: place_of(heading.name.partition(" [")[0]))


def _default_columns(names: Sequence[str]) -> list[str]:
    """Return the declared quantities; errors at the end of a training only where no command measured them since."""
    stems = {name.partition(" [")[0] for name in names}
    left_out: set[str] = set()
    for target in _TARGETS:
        if f"{target}_mae" in stems:
            left_out |= {f"test_{target}_mae", f"validation_{target}_mae"}
        elif f"test_{target}_mae" in stems:
            left_out.add(f"validation_{target}_mae")
    return [
        name
        for name in names
        if (stem := name.partition(" [")[0]) not in left_out and place_of(stem) < place_of("")
    ]


def _default_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the energy error against drift and the error of phonons, of all tests, as far as they were measured."""

    def first(*stems: str) -> list[str]:
        found = ([name for name in names if name.partition(" [")[0] == stem] for stem in stems)
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
        wanted = (base,) if base is not None else (measured.base, DEFAULT, only)
        chosen = next((name for name in wanted if name is not None and name in variants), None)
        if chosen is not None:
            found[system] = chosen
    return found


def _lines(measured: Measurements, bases: Mapping[str, str]) -> list[Line]:
    """Group the measurements by system and variant: the base first, then in the order of the studies."""
    seeds: dict[tuple[str, str], dict[int | None, None]] = {}
    for system, variant, seed in measured.potentials:
        seeds.setdefault((system, variant), {})[seed] = None
    found: dict[tuple[str, str], dict[str, dict[int | None, Measurement]]] = {key: {} for key in seeds}
    for one in measured.measurements:
        seeds.setdefault((one.system, one.variant), {})[one.seed] = None
        mine = found.setdefault((one.system, one.variant), {})
        mine.setdefault(one.quantity, {})[one.seed] = one
    place = {variant: number for number, variant in enumerate(measured.variants)}
    systems = {system: number for number, (system, _) in enumerate(found)}

    def order(key: tuple[str, str]) -> tuple[int, bool, int]:
        system, variant = key
        return systems[system], bases.get(system) != variant, place.get(variant, len(place))

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
                    name: _cell(mine, reference.get(name)) for name, mine in found[system, variant].items()
                },
            )
        )
    return lines


def _cell(mine: Mapping[int | None, Measurement], base: Mapping[int | None, Measurement] | None) -> Cell:
    values = {seed: one.value for seed, one in mine.items()}
    of_base = {} if base is None else {seed: one.value for seed, one in base.items()}
    return Cell(
        values=values,
        sources={seed: one.source for seed, one in mine.items()},
        missing={seed: one.missing for seed, one in mine.items()},
        difference=paired_difference(values, of_base),
    )


def _sorted(lines: Sequence[Line], by: Heading) -> list[Line]:
    """Sort the rows of each system by a quantity, the best first and those without it last."""
    systems = list(dict.fromkeys(line.system for line in lines))
    sign = -1 if by.better == "more" else 1

    def order(line: Line) -> tuple[int, bool, float]:
        cell = line.cells.get(by.name)
        return systems.index(line.system), cell is None, 0.0 if cell is None else sign * cell.mean

    return sorted(lines, key=order)


def _correlations(measured: Measurements, x: Heading, y: Heading) -> Iterator[Correlation]:
    """Yield the correlation of two quantities for each system in which a potential has both.

    Whether a potential conserves energy is judged by the test that the quantities are from, if it is one of `md-drift`,
    and otherwise by all of its tests.
    """
    found: dict[tuple[str, str], dict[tuple[str, int | None], Measurement]] = {}
    for one in measured.measurements:
        found.setdefault((one.system, one.quantity), {})[one.variant, one.seed] = one
    for system in dict.fromkeys(one.system for one in measured.measurements):
        first, second = found.get((system, x.name), {}), found.get((system, y.name), {})
        conserved = {}
        for key in first.keys() & second.keys():
            verdicts = measured.conserved.get((system, *key), {})
            tests = {first[key].test, second[key].test} & verdicts.keys() or verdicts.keys()
            if verdicts:
                conserved[key] = all(verdicts[test] for test in tests)
        if first.keys() & second.keys():
            yield correlation_of(
                system,
                ((x.name, x.symbol, x.unit), (y.name, y.symbol, y.unit)),
                (
                    {key: one.value for key, one in first.items()},
                    {key: one.value for key, one in second.items()},
                ),
                conserved,
            )


def _seed_text(seed: int | None) -> str:
    """Return a seed as a key of JSON.

    >>> _seed_text(0), _seed_text(None)
    ('0', 'none')
    """
    return "none" if seed is None else str(seed)
