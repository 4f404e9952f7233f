"""Any name may stand in a figure."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from esen.study.plots.style import write_figure


@pytest.mark.parametrize(
    "name", ["$\\x$", "a$b", "$$", r"\frac{", "\x1b[31m\x07\u202e", "\udce9", "原子", "x_y^z"]
)
def test_any_name(name: str, tmp_path: Path) -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.plot([1, 2], [1, 1000], label=name)
    axes.set(title=name, xlabel=name, yscale="log")
    axes.text(1, 1, name)
    axes.legend(title=name)
    figure.suptitle(name)
    write_figure(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_powers_of_ten_stay_formulas(tmp_path: Path) -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.loglog(np.geomspace(1e-3, 1e3, 7), np.geomspace(1e-3, 1e3, 7))
    write_figure(figure, tmp_path / "a.png")
    labels = [label for label in axes.get_xticklabels() if label.get_text()]
    assert labels
    assert all(label.get_parse_math() for label in labels)
