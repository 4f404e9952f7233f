"""Tables, verdicts and files say what was found."""

import csv
import json
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from esen.errors import InputError
from esen.md.drift import Drift, measure_drift
from esen.md.engine import Failure
from esen.md.protocols import PROTOCOLS
from esen.study.drift.report import (
    Trajectory,
    drift_table,
    earlier_trajectories,
    mean_drift,
    order_of,
    order_table,
    short,
    verdict_lines,
    with_error,
)
from tests.md.test_drift import series_of
from tests.study.drift.small import drift_of


def trajectory(slope: float = 0.0, *, failed: bool = False, rows: int = 2001, **changes: Any) -> Trajectory:
    """20 ps of a line with some noise."""
    noise = np.random.default_rng(0).normal(size=rows)
    series = series_of(8 * (slope * np.arange(rows) * 0.01 + 0.01 * noise) / 1000)
    protocol = PROTOCOLS["quick"]
    made = Trajectory(
        potential="emt",
        protocol=protocol.name,
        system="Cu",
        formula="Cu8",
        atoms=8,
        start_temperature=300.0,
        timestep=protocol.timestep_fs,
        headline=protocol.headline,
        note=protocol.note,
        threshold=0.01,
        path=Path("emt/quick/Cu.csv"),
        series=series,
        drift=measure_drift(series),
        failure=Failure(150, "it is hot") if failed else None,
    )
    return replace(made, **changes)


def test_a_row_on_the_terminal() -> None:
    found = trajectory(0.5)
    (row,) = drift_table([found]).texts()
    assert row == {
        "potential": "emt",
        "system": "Cu",
        "atoms": "8",
        "T (K)": f"{found.drift.temperature:.0f}",
        "f": None,
        "drift ± 95 % (meV/atom/ps)": with_error(found.drift.slope, found.drift.slope_error),
        "wander (meV/atom)": short(found.drift.wander),
        "max |ΔE| (meV/atom)": short(found.drift.largest),
        "σ/√N (meV)": short(found.drift.fluctuation),
        "σ(H̃)/√N (meV)": None,
        "α ± 95 %": with_error(found.drift.growth, found.drift.growth_error),
        "verdict": "drifts",
    }
    assert float((row["drift ± 95 % (meV/atom/ps)"] or "").split()[0]) == pytest.approx(0.5, abs=0.01)


def test_columns_that_apply_to_some_rows_are_shown_for_all() -> None:
    mixed = [
        trajectory(),
        trajectory(failed=True),
        trajectory(rows=0),
        trajectory(headline="fair"),
        trajectory(asymmetry=(0.1, 0.2)),
    ]
    rows = drift_table(mixed).texts()
    assert len({tuple(row) for row in rows}) == 1
    assert "FAIR drift (meV/atom/ps)" in rows[0]
    assert [row["λ"] for row in rows] == [None, None, None, None, "0.2"]
    assert rows[1]["verdict"] == "stopped at 0.15 ps"
    assert rows[2]["drift ± 95 % (meV/atom/ps)"] is None
    assert [t.verdict == "exploded" for t in mixed] == [False, True, False, False, False]
    assert mixed[2].verdict == "undecided"
    assert "λ" not in drift_table(mixed[:2]).texts()[0]


def test_csv_and_json_have_every_number_with_its_unit() -> None:
    found = trajectory(0.5, failed=True, asymmetry=(0.1, 0.2))
    table = drift_table([found])
    (row,) = csv.DictReader(table.csv().splitlines())
    assert float(row["slope (meV/atom/ps)"]) == found.drift.slope
    content = table.json()
    (stored,) = content["rows"]
    for field in fields(Drift):
        value = getattr(found.drift, field.name)
        kept = stored[field.name.removesuffix("_ps")]
        assert kept == value or (kept is None and math.isnan(value)), field.name
    assert (stored["verdict"], stored["failure_step"], stored["failure_time"]) == ("exploded", 150, 0.15)
    assert (stored["asymmetry"], stored["lambda_max"]) == ([0.1, 0.2], 0.2)
    units = {column["name"]: column["unit"] for column in content["columns"]}
    assert (units["slope"], units["largest"], units["lambda_max"]) == ("meV/atom/ps", "meV/atom", "")
    assert table.metrics(found) == {
        "slope_meV_per_atom_per_ps": found.drift.slope,
        "slope_error_meV_per_atom_per_ps": found.drift.slope_error,
        "growth": found.drift.growth,
        "growth_error": found.drift.growth_error,
        "diffusion_meV2_per_atom_per_ps": found.drift.diffusion,
        "lambda_max": 0.2,
    }


def test_one_line_per_potential() -> None:
    lines = verdict_lines(
        [trajectory(0.5), trajectory(-0.7), trajectory(), trajectory(failed=True, potential="mine")], 0.01
    )
    assert lines[0].startswith("emt: 1 conserved, 2 drifts (threshold 0.01 meV/atom/ps); mean |drift| 0.4 ")
    assert lines[1].startswith("mine: 1 exploded ")
    assert lines[-1].startswith("quick: ")
    assert not any(line.startswith("undecided") for line in lines)
    undecided = verdict_lines([trajectory(threshold=0.0)], 0.0)
    assert [line for line in undecided if line.startswith("undecided ")] == [
        "undecided (emt Cu): the threshold lies within the 95 % interval of the drift; a longer --duration would tell"
    ]


def test_an_energy_that_walks() -> None:
    steps = np.random.default_rng(3).normal(size=2001)
    series = series_of(8 * 0.02 * np.cumsum(steps) / 1000)
    found = trajectory(series=series, drift=measure_drift(series))
    assert found.verdict == "walks"
    assert short(found.drift.walk) in (found.reason or "")
    assert found.drift.walk == pytest.approx(0.02 * math.sqrt(2001), rel=0.5)
    assert drift_table([found]).texts()[0]["verdict"] == "walks"
    (stored,) = drift_table([found]).json()["rows"]
    assert (stored["verdict"], stored["reason"]) == ("walks", found.reason)
    assert stored["diffusion_low"] < stored["diffusion"] < stored["diffusion_high"]
    lines = verdict_lines([found], 0.01)
    assert lines[0].startswith("emt: 1 walks (threshold 0.01 ")
    assert f"walks (emt Cu): {found.reason}" in lines


def test_the_angular_momentum_is_shown_where_it_is_conserved() -> None:
    plain = trajectory()
    rows = len(plain.series)
    turning = replace(plain.series, angular_change=np.sin(np.arange(rows) / rows * 3))
    found = replace(plain, series=turning, drift=measure_drift(turning))
    assert [row["max |ΔL| (ħ)"] for row in drift_table([plain, found]).texts()] == [None, "1"]
    assert "max |ΔL| (ħ)" not in drift_table([plain]).texts()[0]
    assert found.drift.angular_change_end == pytest.approx(math.sin(3), abs=0.01)


def test_results_of_an_earlier_version_are_read(work: Path) -> None:
    drift_of(["emt"], work / "first", "cu.xyz")
    result = json.loads((work / "first" / "result.json").read_text())
    (row,) = result["rows"]
    new = ("shadow_fluctuation", "growth", "growth_error", "diffusion", "diffusion_low", "diffusion_high")
    for name in (*new, "redness", "walk", "angular_change", "angular_change_end"):
        del row[name]
    (work / "first" / "result.json").write_text(json.dumps(result))
    path = work / "first" / row["energies"]
    path.write_text("".join(",".join(line.split(",")[:6]) + "\n" for line in path.read_text().splitlines()))
    (found,) = earlier_trajectories(work / "first", [], 0.01)
    assert (found.drift.slope, found.verdict) == (row["slope"], row["verdict"])
    assert math.isnan(found.drift.growth)
    assert (found.series.shadow, len(found.series)) == (None, 26)
    second = drift_of(["emt"], work / "second", "cu.xyz", beside=[work / "first"], plots=True)
    assert second.rows[1]["α ± 95 %"] is None


def test_where_nothing_moves_there_is_no_drift_and_no_verdict() -> None:
    still = trajectory()
    series = replace(still.series, kinetic=0 * still.series.kinetic)
    still = replace(still, series=series, drift=measure_drift(series))
    stored = drift_table([still]).json()["rows"][0]
    assert (stored["verdict"], stored["slope"], stored["wander"]) == ("undecided", None, None)
    assert stored["reason"].startswith("nothing moves")
    assert "--supercell" in (replace(still, atoms=1).reason or "")
    assert drift_table([still]).metrics(still) == {}
    assert verdict_lines([still, trajectory(0.4)], 0.01)[0].endswith("mean |drift| 0.4 meV/atom/ps")


def test_the_headline_of_a_protocol() -> None:
    found = trajectory(0.9, headline="fair")
    lines = verdict_lines([found], 0.01)
    assert f"emt: mean FAIR drift {short(found.drift.fair)} meV/atom/ps" in lines
    assert found.drift.fair == pytest.approx(0.9 * 8 / 9, rel=0.02)
    assert drift_table([found]).texts()[0]["FAIR drift (meV/atom/ps)"] == short(found.drift.fair)


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
    nothing, found = trajectory(rows=0), trajectory(-0.5)
    assert mean_drift([found, nothing]) == abs(found.drift.slope)
    assert math.isnan(mean_drift([nothing]))


def waves(*factors: float, rows: int = 50) -> list[Any]:
    wave = np.sin(np.arange(rows))
    return [series_of(factor * wave) for factor in factors]


def test_orders() -> None:
    exact = order_of("emt", "Cu", [4.0, 2.0, 1.0], waves(16.0, 4.0, 1.0))
    assert exact.order == pytest.approx(2.0)
    assert exact.floor == "none down to 1 fs"
    rough = order_of("emt", "Cu", [4.0, 2.0, 1.0], waves(16.0, 4.0, 3.9))
    assert rough.floor == "does not fall as Δt² any more at 1 fs"
    assert exact.fluctuations[0] == pytest.approx(1000 * 16 * np.sin(np.arange(50)).std() / math.sqrt(8))


def test_orders_of_protocols_with_different_timesteps_share_a_table() -> None:
    exact = order_of("emt", "Cu", [4.0, 2.0], waves(16.0, 4.0))
    other = order_of("emt", "water", [1.0, 0.5], waves(4.0, 1.0))
    first, second = order_table([exact, other]).texts()
    assert list(first) == [
        "potential",
        "system",
        *(f"σ/√N at {timestep} fs (meV)" for timestep in ("4", "2", "1", "0.5")),
        "order",
        "floor",
    ]
    assert (first["order"], second["order"]) == ("2.000", "2.000")
    assert first["σ/√N at 1 fs (meV)"] is None
    assert second["σ/√N at 1 fs (meV)"] == short(other.fluctuations[0])
    stored = order_table([exact]).json()["rows"][0]
    assert (stored["timesteps"], stored["fluctuations"]) == ((4.0, 2.0), exact.fluctuations)


def test_no_order_of_what_is_still_or_ended_early() -> None:
    for found in (
        waves(0.0, 0.0),
        [*waves(4.0), *waves(1.0, rows=20)],
        [*waves(4.0), *waves(1.0, rows=0)],
        waves(1.0, 1.0, rows=0),
    ):
        test = order_of("emt", "Cu", [2.0, 1.0], found)
        assert math.isnan(test.order)
        (row,) = order_table([test]).texts()
        assert (row["order"], row["floor"]) == (None, None)


def test_an_earlier_test_is_shown_beside(work: Path) -> None:
    first = drift_of(["emt"], work / "first", "cu.xyz")
    second = drift_of(["emt"], work / "second", "cu.xyz", beside=[work / "first"], changes={"seed": 1})
    assert [t.potential for t in second.trajectories] == ["emt", "emt (first)"]
    assert repr(second.trajectories[1].drift) == repr(first.trajectories[0].drift)
    assert second.rows[1] == first.rows[0] | {"potential": "emt (first)"}
    third = drift_of(["mine:swirling"], work / "third", "cu.xyz", beside=[work / "second"])
    assert [t.potential for t in third.trajectories] == ["swirling", "emt", "emt (first)"]
    assert [repr(t.drift) for t in third.trajectories[1:]] == [repr(t.drift) for t in second.trajectories]


def test_two_earlier_potentials_of_the_same_name_stay_two(work: Path) -> None:
    """Numbering the first one's clash with the new potential would give it the name of the second."""
    earlier = drift_of(["emt", "emt"], work / "first", "cu.xyz", changes={"seed": 1})
    assert [t.potential for t in earlier.trajectories] == ["emt", "emt-2"]
    folders = [work / "first", work / "first"]
    found = drift_of(["emt"], work / "second", "cu.xyz", beside=folders).trajectories
    labels = [t.potential for t in found]
    assert labels[:3] == ["emt", "emt (first)", "emt-2"]
    assert len(set(labels)) == len(labels) == 5
    rows = json.loads((work / "second" / "result.json").read_text())["rows"]
    assert [row["potential"] for row in rows] == labels


def test_an_earlier_test_of_another_protocol_can_be_passed_on(work: Path) -> None:
    drift_of(["emt"], work / "first", "cu.xyz", changes={"timestep_fs": 4.0})
    first = json.loads((work / "first" / "result.json").read_text())
    for row in first["rows"]:
        row["protocol"], row["note"] = "tm23", "27 metals"
    (work / "first" / "result.json").write_text(json.dumps(first))
    drift_of(["emt"], work / "second", "cu.xyz", beside=[work / "first"])
    found = earlier_trajectories(work / "second", [], 0.01)
    assert [(t.protocol, t.timestep) for t in found] == [("structures", 2.0), ("tm23", 4.0)]


def test_an_earlier_failure_is_still_one(work: Path) -> None:
    first = drift_of(["mine:Springs"], work / "first", calculator_args=["fails_at=20"])
    found = earlier_trajectories(work / "first", [], 0.01)
    assert [(t.potential, t.verdict, t.failure) for t in found] == [
        (t.potential, t.verdict, t.failure) for t in first.trajectories
    ]


def test_a_folder_without_a_finished_test(work: Path) -> None:
    with pytest.raises(InputError, match=r"result.json"):
        earlier_trajectories(work, [], 0.01)
    for text in ("{", "[]", "{}", '{"rows": [{}]}'):
        (work / "result.json").write_text(text)
        with pytest.raises(InputError, match=r"result.json"):
            earlier_trajectories(work, [], 0.01)
