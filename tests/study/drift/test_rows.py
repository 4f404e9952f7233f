"""The table says what was found."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from esen.md.drift import measure_drift, verdict_of
from esen.md.engine import Failure
from esen.md.protocols import PROTOCOLS
from esen.study.drift.measure import order_of
from esen.study.drift.result import Trajectory, mean_drift, plain
from esen.study.drift.rows import drift_rows, order_rows, short, verdict_lines, with_error
from tests.md.test_drift import series_of


def trajectory(slope: float = 0.0, *, failed: bool = False, **changes: Any) -> Trajectory:
    """20 ps of a line with some noise."""
    noise = np.random.default_rng(0).normal(size=2001)
    series = series_of(8 * (slope * np.arange(2001) * 0.01 + 0.01 * noise) / 1000)
    drift = measure_drift(series)
    made = Trajectory(
        potential="emt",
        protocol=PROTOCOLS["quick"],
        system="Cu",
        formula="Cu8",
        atoms=8,
        temperature_kelvin=300.0,
        series=series,
        drift=drift,
        verdict=verdict_of(drift, 0.01, exploded=failed),
        failure=Failure(150, "it is hot") if failed else None,
        path=Path("emt/quick/Cu.csv"),
    )
    return replace(made, **changes)


def test_a_row() -> None:
    found = trajectory(0.5)
    (row,) = drift_rows([found])
    assert found.drift is not None
    assert row == {
        "potential": "emt",
        "system": "Cu",
        "atoms": "8",
        "T (K)": f"{found.drift.temperature:.0f}",
        "drift ± 95 %": with_error(found.drift.slope, found.drift.slope_error),
        "wander": short(found.drift.wander),
        "max |ΔE|": short(found.drift.largest),
        "σ/√N": short(found.drift.fluctuation),
        "drift/σ(K)": "–",
        "verdict": "drifts",
    }
    assert float((row["drift ± 95 %"] or "").split()[0]) == pytest.approx(0.5, abs=0.01)


def test_all_rows_have_the_same_columns() -> None:
    fair = replace(PROTOCOLS["fair-tm23"])
    rows = drift_rows(
        [
            trajectory(),
            trajectory(failed=True),
            trajectory(drift=None, series=None, verdict="exploded"),
            trajectory(protocol=fair),
            trajectory(asymmetry=(0.1, 0.2)),
        ]
    )
    assert len({tuple(row) for row in rows}) == 1
    assert "FAIR drift" in rows[0]
    assert [row["λ"] for row in rows] == [None, None, None, None, "0.2"]
    assert rows[1]["verdict"] == "stopped at 0.15 ps"
    assert rows[2]["drift ± 95 %"] is None


def test_a_line_a_potential() -> None:
    lines = verdict_lines(
        [trajectory(0.5), trajectory(-0.7), trajectory(), trajectory(failed=True, potential="mine")], 0.01
    )
    assert lines[0].startswith("emt: 1 conserved, 2 drifts (threshold 0.01 meV/atom/ps); mean |drift| 0.4 ")
    assert lines[1].startswith("mine: 1 exploded ")
    assert lines[-1].startswith("quick: ")
    assert not any(line.startswith("undecided") for line in lines)
    undecided = verdict_lines([trajectory(verdict="undecided")], 0.01)
    assert sum(line.startswith("undecided: ") for line in undecided) == 1


def test_the_headline_of_a_protocol() -> None:
    found = trajectory(0.9, protocol=PROTOCOLS["fair-md22"])
    lines = verdict_lines([found], 0.01)
    assert found.drift is not None
    assert f"emt: mean FAIR drift {short(found.drift.fair)} meV/atom/ps" in lines
    assert found.drift.fair == pytest.approx(0.9 * 8 / 9, rel=0.02)
    assert drift_rows([found])[0]["FAIR drift"] == short(found.drift.fair)


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (math.nan, math.nan, "–"),
        (0.1234, math.nan, "+0.12 ± ?"),
        (0.1234, 0.0, "+0.12 ± ?"),
        (1234.5, 67.8, "+1234 ± 68"),
        (-0.00012, 0.000034, "-0.000120 ± 0.000034"),
        (1e-12, 3e-9, "+1.0e-12 ± 3.0e-09"),
        (2.5e7, 1e3, "+2.5e+07 ± 1.0e+03"),
    ],
)
def test_values_with_errors(value: float, error: float, words: str) -> None:
    assert with_error(value, error) == words


def test_means_leave_out_what_is_not_known() -> None:
    nothing = trajectory(drift=None)
    found = trajectory(-0.5)
    assert found.drift is not None
    assert mean_drift([found, nothing]) == abs(found.drift.slope)
    assert math.isnan(mean_drift([nothing]))
    assert plain({"a": [math.nan, np.float64(2.0), (math.inf,)], "b": None}) == {
        "a": [None, 2.0, [None]],
        "b": None,
    }


def squares(*factors: float, rows: int = 50) -> list[Any]:
    wave = np.sin(np.arange(rows))
    return [series_of(factor * wave) for factor in factors]


def test_orders() -> None:
    exact = order_of("emt", "Cu", [4.0, 2.0, 1.0], squares(16.0, 4.0, 1.0))
    assert exact.order == pytest.approx(2.0)
    assert exact.floor == "none down to 1 fs"
    rough = order_of("emt", "Cu", [4.0, 2.0, 1.0], squares(16.0, 4.0, 3.9))
    assert rough.floor == "does not fall as Δt² any more at 1 fs"
    rows = order_rows([exact, rough])
    assert list(rows[0]) == [
        "potential",
        "system",
        "σ/√N, 4 fs",
        "σ/√N, 2 fs",
        "σ/√N, 1 fs",
        "order",
        "floor",
    ]
    assert rows[0]["order"] == "2.000"
    assert exact.fluctuations[0] == pytest.approx(1000 * 16 * np.sin(np.arange(50)).std() / math.sqrt(8))


def test_no_order_of_what_is_still_or_ended_early() -> None:
    for found in (
        squares(0.0, 0.0),
        [*squares(4.0), *squares(1.0, rows=20)],
        [*squares(4.0), *squares(1.0, rows=0)],
        squares(1.0, 1.0, rows=0),
    ):
        test = order_of("emt", "Cu", [2.0, 1.0], found)
        assert math.isnan(test.order)
        assert order_rows([test])[0]["order"] is None
        assert plain(test.to_json())["order"] is None
        assert order_rows([test])[0]["floor"] is None
