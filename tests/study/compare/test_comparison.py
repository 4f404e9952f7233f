"""Means, deviations, paired differences and correlations, against scipy, numpy and pandas."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from esen.errors import InputError
from esen.study.compare import Comparison, compare, read_measurements, write_comparison
from esen.study.compare.comparison import Cell, Line
from esen.study.compare.layout import latex, markdown, notes, value_tables
from esen.text import Grey
from tests.study.compare.handmade import errors, trajectory, write_cell, write_result

VALUES: dict[str, dict[int, float]] = {
    "default": {0: 1.0, 1: 1.4, 2: 1.1},
    "direct": {0: 2.5, 1: 2.2, 2: 2.9},
    "bessel": {0: 1.1, 1: 1.2, 2: 1.3},
}
SLOPES = {"default": -0.002, "direct": 4.0, "bessel": 0.004}


def study(folder: Path, values: dict[str, dict[int, float]] | None = None) -> Path:
    for variant, by_seed in (VALUES if values is None else values).items():
        for seed, energy in by_seed.items():
            write_cell(folder, variant, seed, "mae", errors(energy, 10 * energy))
            slope = SLOPES.get(variant, 1.0) * (1 + seed)
            verdict = "drifts" if variant == "direct" else "conserved"
            write_cell(folder, variant, seed, "md-drift", [trajectory(slope, verdict=verdict)])
    return folder


def line_of(comparison: Comparison, variant: str, system: str = "") -> Line:
    return next(line for line in comparison.lines if (line.system, line.variant) == (system, variant))


def cell_of(comparison: Comparison, variant: str, quantity: str) -> Cell:
    return line_of(comparison, variant).cells[quantity]


def test_means_and_deviations_are_those_of_numpy(tmp_path: Path) -> None:
    comparison = compare(read_measurements([study(tmp_path)]))
    assert comparison.lines[0].variant == "default"
    for variant, by_seed in VALUES.items():
        cell = cell_of(comparison, variant, "energy_mae")
        values = list(by_seed.values())
        assert cell.n == 3
        assert cell.mean == pytest.approx(np.mean(values), rel=1e-14)
        assert cell.deviation == pytest.approx(np.std(values, ddof=1), rel=1e-14)


def test_means_and_deviations_are_those_of_pandas(tmp_path: Path) -> None:
    pandas: Any = pytest.importorskip("pandas")
    flat = [(v, seed, value) for v, by_seed in VALUES.items() for seed, value in by_seed.items()]
    expected = pandas.DataFrame(flat, columns=["variant", "seed", "value"]).groupby("variant")["value"]
    comparison = compare(read_measurements([study(tmp_path)]))
    for variant, row in expected.agg(["count", "mean", "std"]).iterrows():
        cell = cell_of(comparison, variant, "energy_mae")
        assert (cell.n, cell.mean, cell.deviation) == pytest.approx(tuple(row), rel=1e-14)


def test_paired_differences_are_those_of_scipy(tmp_path: Path) -> None:
    comparison = compare(read_measurements([study(tmp_path)]))
    for variant in ("direct", "bessel"):
        found = cell_of(comparison, variant, "energy_mae").difference
        assert found is not None
        mine, base = list(VALUES[variant].values()), list(VALUES["default"].values())
        expected = scipy.stats.ttest_rel(mine, base)
        low, high = expected.confidence_interval(0.95)
        assert found.half_width is not None
        assert found.mean == pytest.approx(np.mean(np.subtract(mine, base)), rel=1e-12)
        assert found.mean - found.half_width == pytest.approx(low, rel=1e-10)
        assert found.mean + found.half_width == pytest.approx(high, rel=1e-10)
        assert found.relative == pytest.approx(100 * found.mean / np.mean(base), rel=1e-12)
        assert found.within == bool(expected.pvalue > 0.05)
    assert cell_of(comparison, "default", "energy_mae").difference is None


def test_only_common_seeds_are_paired(tmp_path: Path) -> None:
    values = {"default": {0: 1.0, 1: 1.4, 2: 1.1}, "direct": {1: 2.2, 2: 2.9, 5: 100.0}}
    comparison = compare(read_measurements([study(tmp_path, values)]))
    cell = cell_of(comparison, "direct", "energy_mae")
    assert cell.n == 3
    assert cell.difference is not None
    assert cell.difference.seeds == (1, 2)
    assert cell.difference.mean == pytest.approx((0.8 + 1.8) / 2)
    low, high = scipy.stats.ttest_rel([2.2, 2.9], [1.4, 1.1]).confidence_interval(0.95)
    assert cell.difference.half_width == pytest.approx((high - low) / 2)


def test_one_seed_has_no_deviation_and_no_interval(tmp_path: Path) -> None:
    comparison = compare(read_measurements([study(tmp_path, {"default": {0: 1.0}, "direct": {0: 2.0}})]))
    cell = cell_of(comparison, "direct", "energy_mae")
    assert (cell.n, cell.deviation) == (1, None)
    assert cell.difference is not None
    assert (cell.difference.mean, cell.difference.half_width, cell.difference.within) == (1.0, None, None)
    assert any("n = 1" in note for note in notes(comparison))


def test_a_missing_value_is_not_averaged_over_silently(tmp_path: Path) -> None:
    study(tmp_path)
    write_cell(tmp_path, "direct", 1, "mae", errors(None, 22.0))
    comparison = compare(read_measurements([tmp_path]))
    cell = cell_of(comparison, "direct", "energy_mae")
    assert cell.values == {0: 2.5, 2: 2.9}
    assert cell_of(comparison, "direct", "forces_mae").n == 3
    assert "(n = 2)" in markdown(comparison)


def test_a_potential_without_stress_has_a_dash(tmp_path: Path) -> None:
    write_cell(tmp_path, "default", 0, "mae", errors(1.0, 2.0, 3.0))
    write_cell(tmp_path, "direct", 0, "mae", errors(1.0, 2.0))
    comparison = compare(read_measurements([tmp_path]), columns=["stress_mae"])
    [(_, table)] = value_tables(comparison)
    assert [row[-1] for row in table.records] == ["3", "–"]
    text = write_comparison(comparison, tmp_path / "out")["table, CSV"].read_text(encoding="utf-8")
    assert text.splitlines()[2].startswith(",direct,stress_mae,meV/Å³,0,,")
    assert any("direct, seed 0: no stress_mae" in remark for remark in comparison.remarks)


def test_correlations_are_those_of_scipy(tmp_path: Path) -> None:
    comparison = compare(read_measurements([study(tmp_path)]), correlate=[("energy_mae", "drift")])
    [found] = comparison.correlations
    x = [value for by_seed in VALUES.values() for value in by_seed.values()]
    y = [abs(SLOPES[v]) * (1 + seed) for v, by_seed in VALUES.items() for seed in by_seed]
    expected = scipy.stats.pearsonr(x, y)
    low, high = expected.confidence_interval(0.95)
    assert found.everything.n == 9
    assert found.everything.pearson.value == pytest.approx(expected.statistic, rel=1e-12)
    assert (found.everything.pearson.low, found.everything.pearson.high) == pytest.approx(
        (low, high), rel=1e-10
    )
    rho = scipy.stats.spearmanr(x, y).statistic
    width = scipy.stats.norm.ppf(0.975) * math.sqrt((1 + rho**2 / 2) / 6)
    assert found.everything.spearman.value == pytest.approx(rho, rel=1e-12)
    assert found.everything.spearman.high == pytest.approx(math.tanh(math.atanh(rho) + width), rel=1e-12)
    assert found.passing is not None
    passing = scipy.stats.pearsonr(x[:3] + x[6:], y[:3] + y[6:])
    assert (found.passing.n, found.passing.pearson.value) == (6, pytest.approx(passing.statistic, rel=1e-12))


def test_few_points_have_no_interval(tmp_path: Path) -> None:
    comparison = compare(read_measurements([study(tmp_path, {"default": {0: 1.0, 1: 2.0, 2: 4.0}})]))
    [found] = comparison.correlations
    assert found.everything.n == 3
    assert found.everything.pearson.value is not None
    assert found.everything.pearson.low is None
    assert "too few" in found.everything.texts()[0]


def test_foreign_potentials_have_no_seed_and_no_pair(tmp_path: Path) -> None:
    study(tmp_path / "study")
    write_result(tmp_path / "emt", "mae", [dict(row, potential="emt") for row in errors(9.0)], label="emt")
    comparison = compare(read_measurements([tmp_path]))
    assert line_of(comparison, "emt").seeds == (None,)
    cell = cell_of(comparison, "emt", "energy_mae")
    assert (cell.n, cell.mean, cell.deviation, cell.difference) == (1, 9.0, None, None)


def test_base_and_sort(tmp_path: Path) -> None:
    measured = read_measurements([study(tmp_path)])
    comparison = compare(measured, "bessel", sort="energy_mae")
    assert comparison.bases == {"": "bessel"}
    assert [line.variant for line in comparison.lines] == ["default", "bessel", "direct"]
    assert cell_of(comparison, "default", "energy_mae").difference is not None
    with pytest.raises(InputError, match="did you mean bessel"):
        compare(measured, "besel")
    with pytest.raises(InputError, match="did you mean drift"):
        compare(measured, columns=["drfit"])
    with pytest.raises(InputError, match="--sort wandr"):
        compare(measured, sort="wandr")


def test_without_a_base_there_are_no_differences(tmp_path: Path) -> None:
    comparison = compare(read_measurements([study(tmp_path, {"a": {0: 1.0, 1: 2.0}, "b": {0: 3.0, 1: 2.0}})]))
    assert comparison.bases == {}
    assert all(cell.difference is None for line in comparison.lines for cell in line.cells.values())
    assert any("--base" in remark for remark in comparison.remarks)


def test_systems_are_compared_each_for_itself(tmp_path: Path) -> None:
    for system, shift in (("mgo", 0.0), ("water", 100.0)):
        for variant, by_seed in VALUES.items():
            for seed, energy in by_seed.items():
                write_cell(
                    tmp_path,
                    variant,
                    seed,
                    "mae",
                    errors(energy + shift),
                    system=system,
                    settings={"data": system},
                )
    comparison = compare(read_measurements([tmp_path]))
    assert list(comparison.systems) == ["mgo", "water"]
    for system in ("mgo", "water"):
        difference = line_of(comparison, "direct", system).cells["energy_mae"].difference
        assert difference is not None
        assert difference.mean == pytest.approx(4.1 / 3)


def test_a_difference_within_its_interval_is_marked_everywhere(tmp_path: Path) -> None:
    comparison = compare(read_measurements([study(tmp_path)]), columns=["energy_mae"])
    _, (_, differences) = value_tables(comparison)
    assert {row[0]: isinstance(row[-1], Grey) for row in differences.records} == {
        "default": False,
        "bessel": True,
        "direct": False,
    }
    assert latex(comparison).count("textcolor{gray}") == 1
    marked = [text for text in markdown(comparison).splitlines() if "≈ " in text]
    assert len(marked) == 1
    rows = {row["variant"]: row for row in comparison.json()["variants"]}
    assert rows["bessel"]["cells"]["energy_mae"]["difference"]["within_interval"] is True
    assert rows["direct"]["cells"]["energy_mae"]["difference"]["within_interval"] is False


def test_hostile_names_break_no_table(tmp_path: Path) -> None:
    name = "a|b_$%&#{}~^\\\x1b[31m\nnew" + "x" * 300
    for variant in ("default", name):
        for seed in (0, 1):
            write_cell(tmp_path, variant, seed, "mae", errors(1.0 + seed), folder=f"v{len(variant)}")
    comparison = compare(read_measurements([tmp_path]))
    lines = markdown(comparison).splitlines()
    table = [text for text in lines if text.startswith("|")]
    assert len({text.replace("\\|", "").count("|") for text in table}) == 1
    assert "\x1b" not in markdown(comparison) + latex(comparison)
    body = [text for text in latex(comparison).splitlines() if text.endswith(r"\\")]
    assert len({text.replace(r"\&", "").count("&") for text in body}) == 1


@pytest.mark.parametrize("width", [40, 80, 150])
def test_tables_fit_into_a_terminal(tmp_path: Path, width: int) -> None:
    comparison = compare(read_measurements([study(tmp_path)]))
    shown = [column.name for _, table in value_tables(comparison, width) for column in table.columns]
    assert shown.count("energy_mae") == 2
    assert {*shown} == {*comparison.shown, "variant", "n"}


def test_a_correlation_is_judged_by_its_own_test(tmp_path: Path) -> None:
    for seed in range(5):
        write_cell(tmp_path, "default", seed, "mae", errors(1.0 + seed))
        for test, verdict in (("nve32", "drifts"), ("nve64", "conserved")):
            write_cell(
                tmp_path, "default", seed, "md-drift", [trajectory(1.0 + seed, verdict=verdict)], test=test
            )
    found = compare(read_measurements([tmp_path])).correlations
    passing = {one.y.name: one.passing.n for one in found if one.passing is not None}
    assert passing == {"drift [nve32]": 0, "drift [nve64]": 5}


def test_studies_with_the_same_variants_are_kept_apart(tmp_path: Path) -> None:
    for study_name, shift in (("one", 0.0), ("two", 5.0)):
        for variant in ("default", "direct"):
            for seed in (0, 1):
                path = write_cell(tmp_path / study_name, variant, seed, "mae", errors(1.0 + seed + shift))
                of_study(path, study=study_name)
    comparison = compare(read_measurements([tmp_path]))
    assert list(comparison.systems) == ["one", "two"]
    assert line_of(comparison, "direct", "two").cells["energy_mae"].mean == pytest.approx(6.5)


def of_study(path: Path, **more: Any) -> None:
    """Change the record of a cell."""
    cell = json.loads((path.parent / "cell.json").read_text()) | more
    (path.parent / "cell.json").write_text(json.dumps(cell))


def test_each_study_has_its_own_base(tmp_path: Path) -> None:
    for name, base in (("one", "a"), ("two", "b")):
        for variant in ("a", "b"):
            for seed in (0, 1):
                path = write_cell(tmp_path / name, variant, seed, "mae", errors(1.0 + seed))
                of_study(path, study=name)
        plan = {"study": name, "base": base, "variants": {"a": {}, "b": {}}, "seeds": [0, 1], "cells": {}}
        (tmp_path / name / "study.json").write_text(json.dumps(plan))
    assert compare(read_measurements([tmp_path])).bases == {"one": "a", "two": "b"}


def test_a_table_has_the_quantities_of_its_system(tmp_path: Path) -> None:
    for seed in (0, 1):
        for variant in ("default", "direct"):
            mgo = errors(1.0 + seed, 2.0, 3.0)
            write_cell(tmp_path, variant, seed, "mae", mgo, system="mgo", settings={"data": 1})
            water = errors(1.0 + seed, 2.0)
            write_cell(tmp_path, variant, seed, "mae", water, system="water", settings={"data": 2})
    comparison = compare(read_measurements([tmp_path]))
    columns = {title: [column.name for column in table.columns] for title, table in value_tables(comparison)}
    assert {title.rpartition(", ")[2] for title in columns} == {"mgo", "water"}
    assert all(("stress_mae" in names) == title.endswith("mgo") for title, names in columns.items())


def test_quantities_with_the_same_symbol_have_columns_of_their_own(tmp_path: Path) -> None:
    rows = [trajectory(0.1, "a", wander=1.0), trajectory(0.1, "b", wander=7.0)]
    write_cell(tmp_path, "default", 0, "md-drift", rows)
    comparison = compare(read_measurements([tmp_path]), columns=["wander", "md-drift.wander"])
    [(_, table)] = value_tables(comparison)
    [row] = table.texts()
    assert list(row.values())[2:] == ["7", "4"]


def test_rounding_is_no_deviation(tmp_path: Path) -> None:
    values = {"default": {0: 0.1, 1: 0.1, 2: 0.1}, "direct": {0: 0.3, 1: 0.1 + 0.2, 2: 0.3}}
    comparison = compare(read_measurements([study(tmp_path, values)]), columns=["energy_mae"])
    assert cell_of(comparison, "default", "energy_mae").deviation == 0.0
    assert [row[-1] for _, table in value_tables(comparison) for row in table.records] == [
        *("0.1", "0.3"),
        *("base", "+0.2, +200 %"),
    ]


def test_a_correlation_without_points_is_remarked(tmp_path: Path) -> None:
    study(tmp_path / "study", {"default": {0: 1.0}})
    rows = [{"potential": "emt", "name": "cu", "C11": 100.0}]
    write_result(tmp_path / "emt", "elastic", rows, label="emt")
    comparison = compare(read_measurements([tmp_path]), correlate=[("energy_mae", "elastic.C11")])
    assert comparison.correlations == []
    assert any("no potential has both" in remark for remark in comparison.remarks)


def test_points_of_a_correlation_are_in_the_order_of_the_table(tmp_path: Path) -> None:
    comparison = compare(read_measurements([study(tmp_path)]), sort="energy_mae")
    [found] = comparison.correlations
    order = [line.variant for line in comparison.lines]
    assert list(dict.fromkeys(point.variant for point in found.points)) == order


def test_letters_that_latex_lacks_are_commands_or_named(tmp_path: Path) -> None:
    for variant in ("default", "größe λ", "日本"):
        rows = [trajectory(0.1, angular_change=0.5)]
        write_cell(
            tmp_path, variant, 0, "md-drift", rows, units={"angular_change": "ħ"}, folder=f"v{len(variant)}"
        )
    text = latex(compare(read_measurements([tmp_path])))
    code = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert r"($\hbar$)" in code
    assert r"größe $\lambda$" in code
    assert "ħ" not in code
    assert "lualatex" in text.splitlines()[1]
