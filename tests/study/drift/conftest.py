import sys
from pathlib import Path

import pytest

from esen.study.drift.plots import energy_plot, order_plot
from tests.study.drift.small import files


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with structures and a module of potentials, in which the test runs."""
    monkeypatch.chdir(tmp_path)
    files(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    for plot in ("energy_plot", "order_plot"):
        monkeypatch.setattr(f"esen.study.drift.output.{plot}", lambda _, path: path.write_bytes(b"a plot"))
    return tmp_path


@pytest.fixture
def plots(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots are drawn, which takes longer than everything else."""
    monkeypatch.setattr("esen.study.drift.output.energy_plot", energy_plot)
    monkeypatch.setattr("esen.study.drift.output.order_plot", order_plot)
