"""Results: trajectories and order tests, their tables and verdicts, and the results of earlier tests."""

import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from itertools import chain, count
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula

from esen.errors import InputError, typed_line
from esen.files import RESULT, read_json
from esen.md.drift import (
    NOTHING_MOVES,
    Drift,
    Series,
    Verdict,
    fluctuation_order,
    measure_drift,
    untested,
    verdict_of,
)
from esen.md.engine import Failure
from esen.md.files import read_series
from esen.md.protocols import Headline, Protocol
from esen.md.systems import System
from esen.study.drift.choice import USER_STRUCTURES
from esen.study.table import Column, Table
from esen.text import first_few

_HEADLINES: dict[Headline, tuple[str, str]] = {
    "fair": ("FAIR drift", "meV/atom/ps"),
    "lambench": ("LAMBench slope", "LAMBench's unit"),
}
"""Definitions of the drift that are quoted only for their own protocols: symbol and unit."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One system simulated with one potential.

    Attributes:
        potential: label of the potential.
        protocol: name of the protocol.
        system: name of the system.
        formula: formula of the system, in Hill's order.
        atoms: number of atoms.
        start_temperature: temperature of the initial velocities, in K.
        timestep: time step, in fs.
        headline: definition of the drift that the protocol quotes.
        note: what must be known about the protocol.
        threshold: threshold of the verdict, in meV/atom/ps.
        path: file of the energies.
        series: the energies; no rows if the trajectory never began or its file is gone.
        drift: what was measured, NaN without energies.
        failure: why the trajectory ended early; None if it did not.
        asymmetry: λ of the forces' Jacobian along the trajectory, if it was measured.
        device: where it was computed, as torch calls it; None if that is not known.
        ms_per_step: time of a step by the clock, in ms; of systems that are simulated in one batch, the share by number
            of atoms. None if it is not known.
        cpu_ms_per_step: the same of all CPU threads together; None on a GPU.
    """

    potential: str
    protocol: str
    system: str
    formula: str
    atoms: int
    start_temperature: float
    timestep: float
    headline: Headline
    note: str
    threshold: float
    path: Path
    series: Series
    drift: Drift
    failure: Failure | None
    asymmetry: tuple[float, ...] = ()
    device: str | None = None
    ms_per_step: float | None = None
    cpu_ms_per_step: float | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether the energy is conserved to the threshold."""
        return "exploded" if self.failure is not None else verdict_of(self.drift, self.threshold)

    @property
    def reason(self) -> str | None:
        """Why the energy is not judged, or how far it walks; None otherwise."""
        if self.verdict == "walks":
            return (
                f"the energy walks at random: √(2 D T)/N is {short(self.drift.walk)} meV/atom over"
                f" {self.drift.duration_ps:.3g} ps, and ⟨ΔE²⟩ grows as τ^α with α ="
                f" {with_error(self.drift.growth, self.drift.growth_error)}"
            )
        if self.verdict != "undecided":
            return None
        why = untested(self.drift)
        if why == NOTHING_MOVES and self.atoms > 1 and self.series.freedoms == 0:
            return f"{why}: all atoms are fixed"
        if why == NOTHING_MOVES and self.atoms == 1:
            return f"{why}: the cell has one atom, whose centre of mass is at rest; repeat it with --supercell 2,2,2"
        if why == NOTHING_MOVES:
            return f"{why}: free atoms need velocities or forces; give a --temperature"
        return (
            why or "the threshold lies within the 95 % interval of the drift; a longer --duration would tell"
        )

    @property
    def failure_time(self) -> float | None:
        """Time in ps at which the trajectory ended early."""
        return None if self.failure is None else self.failure.step * self.timestep / 1000

    @property
    def shown_drift(self) -> str | None:
        """The slope with its error; None without energies."""
        return with_error(self.drift.slope, self.drift.slope_error) if self.drift.rows else None

    @property
    def shown_growth(self) -> str | None:
        """The exponent of ⟨ΔE²⟩ with its error; None if it is not known."""
        known = math.isfinite(self.drift.growth)
        return with_error(self.drift.growth, self.drift.growth_error) if known else None

    @property
    def shown_verdict(self) -> str:
        """The verdict, or when the trajectory ended early."""
        return self.verdict if self.failure is None else f"stopped at {self.failure_time:.3g} ps"

    @property
    def summary(self) -> str:
        """One line about the result."""
        found = f"drift {self.shown_drift} meV/atom/ps" if untested(self.drift) is None else str(self.reason)
        if self.verdict == "walks":
            found += f"; {self.reason}"
        if self.failure is not None:
            found = f"stopped at step {self.failure.step}: {self.failure.reason}"
        return f"{self.potential}, {self.system}: {found}"


@dataclass(frozen=True, eq=False)
class OrderTest:
    """One system simulated from the same start with several timesteps.

    Attributes:
        potential: label of the potential.
        system: name of the system.
        timesteps: in fs, decreasing.
        fluctuations: σ(E)/√N at each timestep, in meV.
        order: exponent p of fluctuation ∝ Δtᵖ; NaN if it cannot be determined.
        between: exponents between neighbouring timesteps.
        duration: of each trajectory, in ps.
    """

    potential: str
    system: str
    timesteps: tuple[float, ...]
    fluctuations: tuple[float, ...]
    order: float
    between: tuple[float, ...]
    duration: float

    @property
    def floor(self) -> str | None:
        """At which timestep the fluctuation stops falling as Δt², in words; None if the order is not known."""
        if math.isnan(self.order):
            return None
        for finer, exponent in zip(self.timesteps[1:], self.between, strict=True):
            if exponent < 1.5:
                return f"does not fall as Δt² any more at {finer:g} fs"
        return f"none down to {self.timesteps[-1]:g} fs"


def trajectory_of(
    label: str, protocol: Protocol, system: System, path: Path, failure: Failure | None, threshold: float
) -> Trajectory:
    """Measure the trajectory whose energies are in a file. A trajectory that failed may have no file.

    Raises:
        InputError: the file is missing or damaged.
    """
    atoms = len(system.structure)
    series = read_series(path, atoms) if path.exists() or failure is None else _no_rows(atoms)
    series = replace(series, freedoms=protocol.freedoms(system.structure))
    symbols = [chemical_symbols[number] for number in system.structure.numbers]
    return Trajectory(
        potential=label,
        protocol=protocol.name,
        system=system.name,
        formula=Formula.from_list(symbols).format("hill"),
        atoms=atoms,
        start_temperature=system.temperature_kelvin,
        timestep=protocol.timestep_fs,
        headline=protocol.headline,
        note=protocol.note,
        threshold=threshold,
        path=path,
        series=series,
        drift=measure_drift(series),
        failure=failure,
    )


def order_of(label: str, system: str, timesteps: Sequence[float], found: Sequence[Series]) -> OrderTest:
    """Measure how the fluctuation falls with the timestep; NaN if a trajectory ended early or nothing fluctuates."""
    spread = [1000 * float(s.total.std()) / np.sqrt(s.atoms) if len(s) > 1 else np.nan for s in found]
    complete = len({len(s) for s in found}) == 1
    order, between = np.nan, np.full(len(timesteps) - 1, np.nan)
    if complete and all(np.isfinite(value) and value > 0 for value in spread):
        order, between = fluctuation_order(timesteps, spread)
    duration = float(found[0].time_ps[-1]) if len(found[0]) else 0.0
    return OrderTest(label, system, tuple(timesteps), tuple(spread), order, tuple(between.tolist()), duration)


def short(value: float) -> str:
    """Return a number with two digits.

    >>> short(0.01234), short(123.4), short(4.5e-7), short(float("nan"))
    ('0.012', '123', '4.5e-07', '–')
    """
    if math.isnan(value):
        return "–"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2g}"


def with_error(value: float, error: float) -> str:
    """Return a value and its error, both to the second digit of the error.

    >>> with_error(0.012345, 0.00067), with_error(-41.23, 3.1)
    ('+0.01235 ± 0.00067', '-41.2 ± 3.1')
    """
    if math.isnan(value):
        return "–"
    if not math.isfinite(error) or error <= 0:
        return f"{value:+.2g} ± ?"
    exponent = math.floor(math.log10(error))
    if exponent < -6 or abs(value) >= 1e6:
        return f"{value:+.1e} ± {error:.1e}"
    digits = max(0, 1 - exponent)
    return f"{value:+.{digits}f} ± {error:.{digits}f}"


COLUMNS: tuple[Column[Trajectory], ...] = (
    Column("potential", wraps=True),
    Column("protocol", shown=False),
    Column("system", wraps=True),
    Column("formula", shown=False),
    Column("atoms"),
    Column("start_temperature", unit="K", shown=False),
    Column("timestep", unit="fs", shown=False),
    Column("headline", shown=False),
    Column("note", shown=False),
    Column("temperature", "T", "K", attrgetter("drift.temperature"), ".0f"),
    Column("freedoms", "f", value=attrgetter("series.freedoms")),
    Column("drift", "drift ± 95 %", "meV/atom/ps", attrgetter("shown_drift"), stored=False),
    Column("slope", "", "meV/atom/ps", attrgetter("drift.slope"), shown=False, tracked=True),
    Column("slope_error", "", "meV/atom/ps", attrgetter("drift.slope_error"), shown=False, tracked=True),
    Column("fair", *_HEADLINES["fair"], attrgetter("drift.fair"), short, "less", shown=False),
    Column("lambench", *_HEADLINES["lambench"], attrgetter("drift.lambench"), short, "less", shown=False),
    Column("wander", "", "meV/atom", attrgetter("drift.wander"), short, "less"),
    Column("largest", "max |ΔE|", "meV/atom", attrgetter("drift.largest"), short, "less"),
    Column("fluctuation", "σ/√N", "meV", attrgetter("drift.fluctuation"), short, "less"),
    Column("shadow_fluctuation", "σ(H̃)/√N", "meV", attrgetter("drift.shadow_fluctuation"), short, "less"),
    Column("growth_shown", "α ± 95 %", "", attrgetter("shown_growth"), stored=False),
    Column("growth", "α", "", attrgetter("drift.growth"), shown=False, tracked=True),
    Column("growth_error", "", "", attrgetter("drift.growth_error"), shown=False, tracked=True),
    Column(
        "diffusion",
        "D/N",
        "meV²/atom/ps",
        attrgetter("drift.diffusion"),
        short,
        "less",
        shown=False,
        tracked=True,
    ),
    Column("diffusion_low", "", "meV²/atom/ps", attrgetter("drift.diffusion_low"), shown=False),
    Column("diffusion_high", "", "meV²/atom/ps", attrgetter("drift.diffusion_high"), shown=False),
    Column("redness", "β", "", attrgetter("drift.redness"), shown=False),
    Column("walk", "√(2DT)/N", "meV/atom", attrgetter("drift.walk"), short, "less", shown=False),
    Column(
        "angular_change",
        "max |ΔL|",
        "ħ",
        attrgetter("drift.angular_change"),
        short,
        "less",
        shown=False,
        tracked=True,
    ),
    Column("angular_change_end", "", "ħ", attrgetter("drift.angular_change_end"), shown=False),
    Column("relative", "drift/σ(K)", "1/ps", attrgetter("drift.relative"), short, "less", shown=False),
    Column("temperature_end", "", "K", attrgetter("drift.temperature_end"), shown=False),
    Column("duration", "", "ps", attrgetter("drift.duration_ps"), shown=False),
    Column("rows", value=attrgetter("drift.rows"), shown=False),
    Column("ms_per_step", "MD step", "ms", better="less", shown=False),
    Column("cpu_ms_per_step", "MD step, CPU time", "ms", better="less", shown=False),
    Column("device", shown=False),
    Column("asymmetry", value=lambda t: list(t.asymmetry) or None, shown=False),
    Column(
        "lambda_max",
        "λ",
        "",
        lambda t: max(t.asymmetry, default=None),
        short,
        "less",
        shown=False,
        tracked=True,
    ),
    Column("verdict", value=attrgetter("shown_verdict"), stored=False, wraps=True),
    Column("verdict", shown=False),
    Column("reason", shown=False),
    Column("failure_step", value=lambda t: t.failure and t.failure.step, shown=False),
    Column("failure_time", unit="ps", shown=False),
    Column("failure_reason", value=lambda t: t.failure and t.failure.reason, shown=False),
)


def drift_table(trajectories: Sequence[Trajectory], folder: Path = Path()) -> Table[Trajectory]:
    """Return the table of trajectories; the terminal shows λ and published definitions only where they apply.

    Args:
        trajectories: one row each.
        folder: folder of the result, to which the paths of the energies are relative.
    """
    wanted = {str(t.headline) for t in trajectories if t.headline in _HEADLINES}
    if any(t.asymmetry for t in trajectories):
        wanted.add("lambda_max")
    if any(math.isfinite(t.drift.angular_change) for t in trajectories):
        wanted.add("angular_change")
    columns = [replace(c, shown=c.shown or c.name in wanted) for c in COLUMNS]
    energies = Column[Trajectory]("energies", value=lambda t: os.path.relpath(t.path, folder), shown=False)
    return Table([*columns, energies], trajectories)


def order_table(orders: Sequence[OrderTest]) -> Table[OrderTest]:
    """Return the table of order tests, with one column per timestep on the terminal."""

    def fluctuation_at(timestep: float) -> Column[OrderTest]:
        return Column(
            f"fluctuation_{timestep:g}",
            f"σ/√N at {timestep:g} fs",
            "meV",
            value=lambda test: dict(zip(test.timesteps, test.fluctuations, strict=True)).get(timestep),
            format=short,
            stored=False,
        )

    timesteps = sorted({timestep for test in orders for timestep in test.timesteps}, reverse=True)
    columns: list[Column[OrderTest]] = [
        Column("potential", wraps=True),
        Column("system", wraps=True),
        Column("duration", unit="ps", shown=False),
        Column("timesteps", unit="fs", shown=False),
        Column("fluctuations", unit="meV", shown=False),
        *map(fluctuation_at, timesteps),
        Column("order", format=".3f"),
        Column("between", shown=False),
        Column("floor", wraps=True),
    ]
    return Table(columns, orders)


def mean_drift(trajectories: Sequence[Trajectory], quantity: str = "slope") -> float:
    """Return the mean of |drift| over the trajectories that test it; NaN if none does."""
    values = [abs(getattr(t.drift, quantity)) for t in trajectories if untested(t.drift) is None]
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def verdict_lines(trajectories: Sequence[Trajectory], threshold: float) -> list[str]:
    """Return one line per potential with its verdicts, and the notes of the protocols."""
    lines = []
    for potential, mine in by_potential(trajectories).items():
        verdicts = [t.verdict for t in mine]
        kinds: tuple[Verdict, ...] = ("conserved", "drifts", "walks", "undecided", "exploded")
        counts = ", ".join(f"{verdicts.count(kind)} {kind}" for kind in kinds if kind in verdicts)
        lines.append(
            f"{potential}: {counts} (threshold {threshold:g} meV/atom/ps); mean |drift|"
            f" {short(mean_drift(mine))} meV/atom/ps"
        )
        for headline, (symbol, unit) in _HEADLINES.items():
            chosen = [t for t in mine if t.headline == headline]
            if chosen:
                lines.append(f"{potential}: mean {symbol} {short(mean_drift(chosen, headline))} {unit}")
    by_reason: dict[tuple[Verdict, str], list[str]] = {}
    for t in trajectories:
        if t.reason is not None:
            by_reason.setdefault((t.verdict, t.reason), []).append(f"{t.potential} {t.system}")
    for (verdict, reason), names in by_reason.items():
        lines.append(f"{verdict} ({first_few(names)}): {reason}")
    notes = dict.fromkeys((t.protocol, t.note) for t in trajectories)
    return lines + [f"{name}: {note}" for name, note in notes if name != USER_STRUCTURES.name]


def earlier_trajectories(folder: Path, taken: Collection[str], threshold: float) -> list[Trajectory]:
    """Return the trajectories of an earlier test.

    Args:
        folder: folder of a finished test.
        taken: labels of other potentials. A potential of the earlier test with the same label is another potential,
            and its folder is added to its label.
        threshold: threshold of the verdicts, in meV/atom/ps.

    Raises:
        InputError: the folder holds no finished test, or its files are damaged.
    """
    path = folder / RESULT
    if not path.is_file():
        raise InputError(f"--with {folder}: holds no finished test (no {RESULT})")
    try:
        rows = read_json(path, "run the test again")["rows"]
        labels: dict[str, str] = {}
        for label in dict.fromkeys(row["potential"] for row in rows):
            labels[label] = _free_label(label, folder, {*taken, *labels.values()})
        return [_trajectory_of_row(row, labels[row["potential"]], folder, threshold) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not a result of this version of esen md-drift ({typed_line(error)}); run the test again"
        ) from error


def _free_label(label: str, folder: Path, taken: Collection[str]) -> str:
    numbered = (f"{label} ({folder}, {number})" for number in count(2))
    names = chain([label, f"{label} ({folder.resolve().name})", f"{label} ({folder})"], numbered)
    return next(name for name in names if name not in taken)


def _trajectory_of_row(row: Mapping[str, Any], label: str, folder: Path, threshold: float) -> Trajectory:
    row = {name: math.nan if value is None else value for name, value in row.items()}
    path, atoms = folder / row["energies"], row["atoms"]
    same = ("protocol", "system", "formula", "atoms", "start_temperature", "timestep", "headline", "note")
    freedoms = row.get("freedoms", 3 * atoms)  # earlier versions counted 3N
    failed = isinstance(row["failure_step"], int)
    asymmetry = row["asymmetry"] if isinstance(row["asymmetry"], list) else []
    return Trajectory(
        **{name: row[name] for name in same},
        potential=label,
        threshold=threshold,
        path=path,
        series=replace(read_series(path, atoms) if path.is_file() else _no_rows(atoms), freedoms=freedoms),
        drift=_drift_of_row(row),
        failure=Failure(row["failure_step"], row["failure_reason"]) if failed else None,
        asymmetry=tuple(math.nan if value is None else value for value in asymmetry),
        device=row["device"] if isinstance(row.get("device"), str) else None,
        ms_per_step=_known(row.get("ms_per_step")),
        cpu_ms_per_step=_known(row.get("cpu_ms_per_step")),
    )


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _drift_of_row(row: Mapping[str, Any]) -> Drift:
    """Return the measures of a row of an earlier result; those that its version did not know keep their defaults."""
    names = {field.name: field.name.removesuffix("_ps") for field in fields(Drift)}
    required = {field.name for field in fields(Drift) if field.default is MISSING}
    return Drift(**{name: row[key] for name, key in names.items() if name in required or key in row})


def _no_rows(atoms: int) -> Series:
    none = np.zeros(0)
    return Series(none, none, none, none, atoms)


def by_potential(trajectories: Sequence[Trajectory]) -> dict[str, list[Trajectory]]:
    """Return the trajectories of each potential."""
    labels = dict.fromkeys(t.potential for t in trajectories)
    return {label: [t for t in trajectories if t.potential == label] for label in labels}
