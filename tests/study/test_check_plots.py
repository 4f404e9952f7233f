from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from esen.evaluate.laws.law import Scan
from esen.study.check_plots import diatomics_plot, smoothness_plot


def scan(kind: str, *, jump: float = 0.0, mark: float = float("nan")) -> Scan:
    r = np.linspace(1.0, 6.0, 119)
    energy = (2.5 / r) ** 12 - (2.5 / r) ** 6 + np.where(r > 4.0, jump, 0.0)
    return Scan(
        kind,
        "the pair Ar–Ar, which has a name so long that it is wrapped",
        r,
        energy,
        -np.gradient(energy, r),
        mark,
    )


@pytest.mark.parametrize("count", [1, 4])
def test_lines_with_and_without_a_mark(tmp_path: Path, count: int) -> None:
    scans = [scan("pair", jump=0.1, mark=4.0), *(scan("in the structure") for _ in range(count - 1))]
    smoothness_plot(scans, "toy", tmp_path / "plot.png")
    content = (tmp_path / "plot.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    assert (width > height) == (count > 1)


def test_curves_of_two_atoms(tmp_path: Path) -> None:
    flat = Scan("diatomic", "He–He", np.linspace(1, 6, 119), np.zeros(119), np.zeros(119))
    for name, scans in (("wells", [scan("diatomic")] * 6), ("flat", [flat])):
        diatomics_plot(scans, "toy", tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        smoothness_plot([scan("pair")], "toy", tmp_path / "file" / "plot.png")


def test_more_curves_than_colours_are_all_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr("esen.study.check_plots.write_figure", lambda figure, path: drawn.append(figure))
    diatomics_plot([scan("diatomic")] * 14, "toy", tmp_path / "plot.png")
    energies, forces = drawn[0].axes
    for axes in (energies, forces):
        styles = [
            (line.get_color(), line.get_linestyle())
            for line in axes.lines
            if len(np.atleast_1d(line.get_xdata())) > 2
        ]
        assert len(styles) == len(set(styles)) == 14
