"""What is said of energies, on energies of which the truth is known."""

import math
import runpy
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from jaxtyping import Float64
from scipy.signal import lfilter
from scipy.stats import linregress

from esen.md.drift import (
    Drift,
    Series,
    fair_drift,
    fluctuation_order,
    lambench_slope,
    measure_drift,
    slope_with_error,
    untested,
    verdict_of,
    wander,
)

Rows = Float64[np.ndarray, " rows"]


def series_of(
    total: Rows, kinetic: Rows | float | None = None, step_ps: float = 0.01, atoms: int = 8
) -> Series:
    steps = np.arange(len(total), dtype=np.float64)
    swinging = 1.0 + 0.1 * (steps % 2)
    kinetic = np.broadcast_to(swinging if kinetic is None else np.asarray(kinetic), total.shape).astype(float)
    return Series(10 * steps, steps * step_ps, total - kinetic, kinetic, atoms)


def correlated(generator: np.random.Generator, rows: int, memory: float) -> Rows:
    """AR(1) noise of variance 1, whose correlation falls to 1/e within so many rows."""
    keep = math.exp(-1 / memory) if memory else 0.0
    noise = generator.normal(size=rows + 10 * int(memory)) * math.sqrt(1 - keep**2)
    return np.asarray(lfilter([1.0], [1.0, -keep], noise)[-rows:])


def test_a_line_is_its_slope() -> None:
    generator = np.random.default_rng(0)
    time = np.arange(5001) * 0.01
    total = -1e5 + 8 * (0.012 * time + 0.5 * correlated(generator, 5001, 5)) / 1000
    kinetic = 0.4 + 0.03 * correlated(generator, 5001, 5)
    drift = measure_drift(series_of(total, kinetic))
    assert drift.slope == pytest.approx(0.012, abs=0.005)
    assert abs(drift.slope - 0.012) < drift.slope_error < 0.015
    assert drift.fluctuation == pytest.approx(0.5 * math.sqrt(8), rel=0.1)
    assert drift.relative == pytest.approx(drift.slope / (1000 * 0.03 / 8), rel=0.1)
    assert drift.temperature == pytest.approx(0.4 / (1.5 * units.kB * 8), rel=0.02)
    assert drift.largest == pytest.approx(1000 * np.abs(total - total[0]).max() / 8)
    assert (drift.duration_ps, drift.rows) == (pytest.approx(50.0), 5001)


def test_an_exact_line() -> None:
    total = 8 * 0.5 * np.arange(1001) * 0.01 / 1000
    kinetic = np.linspace(1.0, 2.0, 1001)
    drift = measure_drift(series_of(total, kinetic))
    assert drift.slope == pytest.approx(0.5)
    assert drift.slope_error < 1e-9
    assert drift.fluctuation < 1e-9
    assert drift.wander == pytest.approx(0.5 * 8)  # 9 ps in blocks of one
    assert drift.largest == pytest.approx(0.5 * 10)
    assert drift.temperature == pytest.approx(1.5 / (1.5 * units.kB * 8))
    assert drift.temperature_end == pytest.approx(1.95 / (1.5 * units.kB * 8), rel=1e-3)


def test_the_beginning_is_left_out() -> None:
    total = np.zeros(1000)
    total[:100] = np.linspace(-50, 0, 100)
    drift = measure_drift(series_of(total))
    assert abs(drift.slope) < 1e-9
    assert drift.wander == 0
    assert drift.largest == pytest.approx(1000 * 50 / 8)


def naive_error(time: Rows, energy: Rows) -> float:
    return float(1.96 * linregress(time, energy).stderr)


@pytest.mark.parametrize("memory", [0.0, 3.0, 20.0, 60.0])
def test_the_interval_holds_the_truth_where_least_squares_would_not(memory: float) -> None:
    """1000 rows; of a memory of 60 rows no more than some eight are independent."""
    generator = np.random.default_rng(int(memory))
    time = np.arange(1000) * 0.01
    held = naive = 0
    trials = 250
    for _ in range(trials):
        truth = float(generator.normal())
        energy = truth * time + correlated(generator, 1000, memory)
        slope, error = slope_with_error(time, energy)
        held += abs(slope - truth) <= error
        naive += abs(slope - truth) <= naive_error(time, energy)
    assert held / trials >= 0.9
    assert naive / trials < {0.0: 1.0, 3.0: 0.7, 20.0: 0.35, 60.0: 0.2}[memory]


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01])
def test_the_interval_holds_where_modes_exchange_energy_slowly(temperature: float) -> None:
    """The FPUT chain does not drift; intervals from means of blocks hold the truth in 72 to 90 % of cases."""
    script = Path(__file__).parents[2] / "benchmarks" / "drift_coverage.py"
    fput = runpy.run_path(str(script))["fput"]
    for energies in fput(np.random.default_rng(1), 150, 450, 500.0, temperature):
        found = [slope_with_error(np.arange(450.0), energy) for energy in energies]
        assert np.mean([abs(slope) <= error for slope, error in found]) >= 0.9


def test_the_interval_is_not_so_wide_that_it_says_nothing() -> None:
    generator = np.random.default_rng(1)
    time = np.arange(1000) * 0.01
    for memory in (0.0, 3.0, 20.0):
        errors, deviations = [], []
        for _ in range(100):
            slope, error = slope_with_error(time, correlated(generator, 1000, memory))
            errors.append(error)
            deviations.append(slope)
        assert np.median(errors) < 4 * 1.96 * np.std(deviations)


@pytest.mark.parametrize("rows", range(30))
def test_short_series_say_that_they_do_not_know(rows: int) -> None:
    total = np.random.default_rng(0).normal(size=rows)
    drift = measure_drift(series_of(total))
    assert drift.rows == rows
    assert math.isnan(drift.temperature) == (rows == 0)
    assert math.isnan(drift.largest) == (rows == 0)
    assert math.isnan(drift.slope) == (rows < 3)
    assert math.isnan(drift.slope_error) == (rows - int(0.1 * rows) < 20)
    assert math.isnan(drift.fair) == (rows < 26)
    assert math.isnan(drift.lambench) == (rows - int(0.2 * rows) < 3)
    assert math.isnan(drift.wander)  # a quarter of a picosecond
    verdict = verdict_of(drift, 0.01)
    assert verdict == ("undecided" if rows < 22 else verdict)
    for field in fields(Drift):
        assert not math.isinf(getattr(drift, field.name)), field.name


def test_rows_further_apart_than_a_picosecond() -> None:
    drift = measure_drift(series_of(np.arange(100.0) * 0.001, step_ps=5.0))
    assert drift.slope == pytest.approx(1000 * 0.001 / 8 / 5)
    assert drift.wander == pytest.approx(1000 * 0.001 * 89 / 8)


def test_wander_is_the_range_of_means_over_a_picosecond() -> None:
    time = np.arange(1050) * 0.01
    fast = 7.0 * np.sin(2 * np.pi * time[:1000] * 10)  # whole periods in every block
    slow = 3.0 * np.sin(2 * np.pi * time / 5)
    blocks = slow[:1000].reshape(10, 100).mean(axis=1)
    assert wander(time[:1000], fast + slow[:1000]) == pytest.approx(float(np.ptp(blocks)), abs=1e-9)
    spike = slow.copy()
    spike[1000:] = 1000.0  # less than half a block at the end
    assert wander(time, spike) == pytest.approx(float(np.ptp(blocks)), abs=1e-9)
    assert wander(time + 17.3, slow) == pytest.approx(wander(time, slow), abs=1e-9)
    assert math.isnan(wander(time[:110], slow[:110]))
    assert math.isnan(wander(time[:0], slow[:0]))


def fair_by_its_definition(time: Rows, per_atom: Rows) -> float:
    """Word by word: the first tenth dropped, a moving average over 20, |E[-1] − E[i0]| over the time from i0 on."""
    n = len(per_atom)
    i0 = int(0.1 * n)
    energies = list(per_atom[i0:])
    averages = []
    for i in range(len(energies) - 20):
        averages.append(sum(energies[i : i + 20]) / 20)
    return 1000 * abs(averages[-1] - averages[i0]) / (time[-1] - time[i0])


@pytest.mark.parametrize("rows", [26, 27, 40, 201, 1000])
def test_fair(rows: int) -> None:
    total = -1e4 + np.cumsum(np.random.default_rng(rows).normal(size=rows)) * 1e-3
    series = series_of(total)
    assert fair_drift(series) == pytest.approx(fair_by_its_definition(series.time_ps, total / 8), rel=1e-6)
    assert fair_drift(series) > 0


def test_a_steady_drift_is_an_eighth_too_small_by_fairs_definition() -> None:
    line = series_of(8 * 0.5 * np.arange(10001) * 0.01 / 1000)
    assert fair_drift(line) == pytest.approx(0.5 * 8 / 9, rel=0.01)
    assert measure_drift(line).slope == pytest.approx(0.5)


def test_lambench() -> None:
    generator = np.random.default_rng(0)
    total = -50 + 0.002 * np.arange(101) + 1e-3 * generator.normal(size=101)
    series = series_of(total, step_ps=0.1, atoms=5)  # a row every 100 steps of 1 fs
    steps = np.arange(101) * 100
    slope = np.polyfit((steps * 1.0 * units.fs)[20:], total[20:], 1)[0]
    assert lambench_slope(series) == pytest.approx(abs(1000 * slope / 5))
    down = replace(series, potential=-series.potential, kinetic=-series.kinetic)
    assert lambench_slope(down) == pytest.approx(lambench_slope(series))
    line = series_of(5 * 1e-6 * np.arange(1001) * 0.1, step_ps=0.1, atoms=5)  # 1e-6 eV/atom/ps
    assert lambench_slope(line) == pytest.approx(10.18e-6, rel=1e-3)


@pytest.mark.parametrize(
    ("slope", "error", "verdict"),
    [
        (0.0, 0.009, "conserved"),
        (-0.005, 0.005, "conserved"),
        (0.005, 0.006, "undecided"),
        (-0.02, 0.011, "undecided"),
        (0.02, 0.009, "drifts"),
        (-0.02, 0.009, "drifts"),
        (0.0, math.nan, "undecided"),
        (5.0, math.nan, "undecided"),
        (math.nan, math.nan, "undecided"),
    ],
)
def test_verdicts(slope: float, error: float, verdict: str) -> None:
    drift = replace(measure_drift(series_of(np.zeros(201))), slope=slope, slope_error=error)
    assert verdict_of(drift, 0.01) == verdict


@pytest.mark.parametrize(
    ("rows", "step_ps", "kinetic", "word"),
    [
        (0, 0.01, None, "no energies"),
        (201, 0.01, 0.0, "nothing moves"),
        (201, 0.01, 8 * 1.5 * units.kB * 0.05, "nothing moves"),
        (201, 0.01, 1.0, "no force acts"),
        (100, 0.01, None, "0.99 ps, fewer than 1 ps"),
        (21, 0.1, None, "too few"),
    ],
)
def test_what_tests_nothing_is_undecided(rows: int, step_ps: float, kinetic: float | None, word: str) -> None:
    drift = measure_drift(series_of(np.zeros(rows), kinetic, step_ps))
    assert word in (untested(drift) or "")
    assert verdict_of(drift, 1e9) == "undecided"
    if kinetic is not None:  # no number that a reader could take for a perfect potential
        assert np.isnan([drift.slope, drift.slope_error, drift.wander, drift.fair, drift.lambench]).all()


def test_a_record_without_motion_is_undecided_whatever_its_slope() -> None:
    still = replace(measure_drift(series_of(np.zeros(201), 0.0)), slope=0.0, slope_error=0.0)
    assert verdict_of(still, 0.01) == "undecided"


def test_a_picosecond_is_judged() -> None:
    drift = measure_drift(series_of(np.zeros(101)))
    assert (untested(drift), verdict_of(drift, 0.01)) == (None, "conserved")


def test_order_of_an_exact_square() -> None:
    steps = [4.0, 2.0, 1.0, 0.5]
    order, between = fluctuation_order(steps, [0.3 * dt**2 for dt in steps])
    assert order == pytest.approx(2.0)
    assert between == pytest.approx([2.0, 2.0, 2.0])


def test_order_above_a_floor() -> None:
    steps = [4.0, 2.0, 1.0, 0.5, 0.25]
    order, between = fluctuation_order(steps, [math.hypot(0.01 * dt**2, 0.006) for dt in steps])
    assert order == pytest.approx(2.0, abs=0.15)
    assert between[0] == pytest.approx(2.0, abs=0.1)
    assert (np.diff(between) < 0).all()
    assert between[-1] < 0.2


def test_order_where_the_largest_step_is_too_large() -> None:
    order, _ = fluctuation_order([8.0, 4.0, 2.0, 1.0], [64 * 3.0, 16.0, 4.0, 1.0])
    assert order == pytest.approx(2.0)


def test_order_of_what_never_falls_as_the_square() -> None:
    steps = [4.0, 2.0, 1.0]
    assert fluctuation_order(steps, [1.0, 1.0, 1.0])[0] == pytest.approx(0.0)
    assert fluctuation_order(steps, [0.1 * dt for dt in steps])[0] == pytest.approx(1.0)
    order, between = fluctuation_order([2.0, 1.0], [4.0, 1.0])
    assert (order, between.tolist()) == (pytest.approx(2.0), pytest.approx([2.0]))


def test_temperature_is_ases() -> None:
    atoms = Atoms("Cu4")
    atoms.set_momenta(np.random.default_rng(0).normal(size=(4, 3)))
    series = series_of(np.zeros(3), atoms.get_kinetic_energy(), atoms=4)
    assert series.temperature == pytest.approx([atoms.get_temperature()] * 3)
