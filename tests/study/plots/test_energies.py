"""Plots are drawn of whatever there is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes

from esen.md.engine import Failure
from esen.study.drift.report import OrderTest, Trajectory
from esen.study.plots.energies import energy_plot, order_plot
from tests.md.test_drift import series_of
from tests.study.drift.test_report import trajectory


def of(total: np.ndarray, **changes: object) -> Trajectory:
    return replace(trajectory(), series=series_of(total), **changes)  # type: ignore[arg-type]


def scales(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The scales that are set of energy axes."""
    found: list[str] = []
    original = Axes.set_yscale
    monkeypatch.setattr(
        Axes, "set_yscale", lambda self, value, **how: (found.append(value), original(self, value, **how))
    )
    return found


@pytest.mark.parametrize("rows", [0, 1, 2, 399, 2001])
def test_any_length(tmp_path: Path, rows: int) -> None:
    total = np.random.default_rng(0).normal(size=rows)
    energy_plot([of(total), of(2 * total, potential="lj")], tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("rows", [0, 1, 2, 500])
def test_shadow_energies_are_drawn_where_they_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    drawn: list[tuple[object, ...]] = []
    original = Axes.plot
    monkeypatch.setattr(
        Axes, "plot", lambda self, *args, **how: (drawn.append(args), original(self, *args, **how))[1]
    )
    plain = of(np.sin(np.arange(rows)))
    shadow = np.where(np.arange(rows) > 0, 1.0, np.nan)
    energy_plot(
        [replace(plain, series=replace(plain.series, shadow=shadow)), replace(plain, potential="old")],
        tmp_path / "a.png",
    )
    dashed = [args for args in drawn if any(isinstance(part, str) and part == "--" for part in args)]
    assert len(dashed) == (rows > 1)


def test_a_wild_one_beside_a_calm_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = scales(monkeypatch)
    wave = np.sin(np.arange(500.0))
    energy_plot([of(wave), of(2 * wave, potential="lj")], tmp_path / "a.png")
    assert "symlog" not in found
    wild = of(1e4 * wave, potential="mine", failure=Failure(3, "hot"))
    energy_plot([of(wave), wild, of(0 * wave, potential="still")], tmp_path / "b.png")
    assert "symlog" in found


def test_many_systems_and_names_that_are_no_text(tmp_path: Path) -> None:
    many = [
        of(np.arange(5.0), system=f"$x_{i}$ {{_^", potential=f"_p{p}%$") for i in range(5) for p in range(2)
    ]
    energy_plot(many, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_orders_with_and_without_numbers(tmp_path: Path) -> None:
    nan = float("nan")
    tests = [
        OrderTest("emt", f"Cu {i}", (4.0, 2.0), values, order, (order,), 0.5)
        for i, (values, order) in enumerate([((4.0, 1.0), 2.0), ((0.0, 0.0), nan), ((nan, nan), nan)] * 4)
    ]
    order_plot(tests, tmp_path / "order.png")
    assert (tmp_path / "order.png").read_bytes().startswith(b"\x89PNG")
    order_plot(tests[1:2], tmp_path / "nothing.png")
    assert (tmp_path / "nothing.png").stat().st_size > 1000
