"""Figures: they are drawn, whatever there is to draw."""

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from esen.evaluate.report import Errors, GroupErrors, MaeReport, Parity
from esen.study.plots.parity import parity_plot
from esen.study.plots.training import training_curves


def pairs(count: int, error: float = 0.01) -> Parity:
    generator = np.random.default_rng(0)
    reference = generator.normal(-6, 1, count)
    return Parity(reference, reference + generator.normal(0, error, count))


def report(energy: Parity, forces: Parity, stress: Parity) -> MaeReport:
    errors = {"energy": Errors(0.512, 1.0, 1), "forces": Errors(24.9, 30.0, 1), "stress": Errors(0.6, 1.0, 1)}
    zero = dict.fromkeys(errors, 0)
    parity = {"energy": energy, "forces": forces, "stress": stress}
    return MaeReport((), 0, GroupErrors(1, errors), {}, {}, zero, zero, frozenset(), parity)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved in a test."""
    figures: list[Figure] = []
    save = Figure.savefig

    def remember(self: Figure, *args: object, **kwargs: object) -> None:
        figures.append(self)
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", remember)
    return figures


def ink(path: Path) -> float:
    """Part of the picture that is not white."""
    return float((imread(path)[..., :3].min(axis=-1) < 0.9).mean())


def test_parity_has_three_panels_with_their_errors(tmp_path: Path, drawn: list[Figure]) -> None:
    path = tmp_path / "mae.png"
    parity_plot(report(pairs(30), pairs(20_000), pairs(270)), path)
    titles = [axes.get_title() for axes in drawn[0].axes]
    assert titles == ["Energy: MAE 0.512 meV/atom", "Forces: MAE 24.9 meV/Å", "Stress: MAE 0.6 meV/Å³"]
    low, high = drawn[0].axes[0].get_xlim()
    assert low < 0 < high  # about the mean
    assert drawn[0].axes[1].get_xlim()[1] < 0  # as it is
    assert 0.02 < ink(path) < 0.5
    assert path.stat().st_size < 300_000


@pytest.mark.parametrize("count", [0, 1, 2])
def test_parity_of_little(count: int, tmp_path: Path, drawn: list[Figure]) -> None:
    parity_plot(report(pairs(count), pairs(3 * count), pairs(0)), tmp_path / "mae.png")
    assert drawn[0].axes[2].texts[0].get_text() == "no reference"
    if count:
        (points,) = drawn[0].axes[0].collections
        low, high = drawn[0].axes[0].get_xlim()
        offsets = np.asarray(points.get_offsets())
        assert ((low < offsets) & (offsets < high)).all()


def test_a_prediction_far_off_does_not_hide_the_others(tmp_path: Path, drawn: list[Figure]) -> None:
    forces = pairs(100)
    forces.predicted[3] = 1e6
    parity_plot(report(pairs(10), forces, pairs(10)), tmp_path / "mae.png")
    axes = drawn[0].axes[1]
    assert axes.get_ylim()[1] < 10
    assert "1 outside" in [text.get_text() for text in axes.texts]


def test_curves_show_what_was_logged(tmp_path: Path, drawn: list[Figure]) -> None:
    rows: list[dict[str, float | None]] = [
        {"step": step, "epoch": 0, "train/loss": math.exp(-step / 100)} for step in range(200)
    ]
    rows += [
        {
            "step": step,
            "validation/energy_mae": 0.5,
            "validation/forces_mae": 25.0,
            "validation/stress_mae": None,
        }
        for step in (99, 199)
    ]
    path = tmp_path / "curves.png"
    training_curves(rows, path)
    loss, errors = drawn[0].axes
    raw, smooth = loss.lines
    np.testing.assert_allclose(raw.get_ydata(), [math.exp(-step / 100) for step in range(200)])
    np.testing.assert_allclose(smooth.get_ydata()[50:150], raw.get_ydata()[50:150], rtol=1e-6)
    legend = errors.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["energy: 0.5 meV/atom", "forces: 25 meV/Å"]
    assert errors.lines[1].get_xdata().tolist() == [99, 199]
    assert loss.get_yscale() == "log"
    assert ink(path) > 0.01


@pytest.mark.parametrize("loss", [math.nan, math.inf, 0.0, -1.0])
def test_curves_of_a_run_that_diverged(loss: float, tmp_path: Path, drawn: list[Figure]) -> None:
    training_curves([{"step": 0, "train/loss": 1.0}, {"step": 1, "train/loss": loss}], tmp_path / "c.png")
    assert drawn[0].axes[0].lines[0].get_ydata().tolist() == [1.0]


def test_curves_of_nothing(tmp_path: Path, drawn: list[Figure]) -> None:
    training_curves([], tmp_path / "c.png")
    assert [axes.texts[0].get_text() for axes in drawn[0].axes] == ["no values", "no values"]
