"""`esen mae` from files to files, with a potential that needs no training."""

import csv
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from esen.errors import InputError
from esen.evaluate.report import Counts, Errors, GroupErrors, MaeReport, Parity
from esen.graph.types import Graph, Prediction
from esen.md.calculator import EsenCalculator, find_weights
from esen.recipe import SourceSpec
from esen.study.mae import mae_rows, run_mae
from tests.toys import PairPotential, morse


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that `load_potential` takes for a Morse potential."""
    path = tmp_path / "best.safetensors"
    path.write_bytes(b"")

    def load(given: Path, *, dtype: torch.dtype | None, device: str, memory: str) -> PairPotential:
        assert (given, dtype, device, memory) == (path, torch.float64, "cpu", "auto")
        return morse()

    monkeypatch.setattr("esen.study.mae.load_potential", load)
    return path


def frames(path: Path, **names: str) -> Path:
    """Three labelled frames, whose energies are too high by 1 meV/atom."""
    images: list[Atoms] = []
    for seed, kind in enumerate(("bulk", "bulk", "hot")):
        atoms = bulk("NaCl", "rocksalt", a=5.2)
        atoms.rattle(0.05 * (seed + 1), seed=seed)
        atoms.calc = EsenCalculator(morse())
        values = {
            "energy": atoms.get_potential_energy() + 0.001 * len(atoms),
            "forces": atoms.get_forces(),
            "stress": atoms.get_stress(),
        }
        atoms.calc = None
        atoms.info["config_type"] = kind
        if names:
            atoms.info[names["energy"]] = values["energy"]
            atoms.arrays[names["forces"]] = values["forces"]
        else:
            atoms.calc = SinglePointCalculator(atoms, **values)
        images.append(atoms)
    write(path, images, format="extxyz")
    return path


def run(weights: Path, data: Path, output: Path, **more: Any) -> Any:
    options: dict[str, Any] = {"dtype": "float64", "device": "cpu", "batch_atoms": 2, **more}
    return run_mae(str(weights), [SourceSpec(path=str(data))], output=output, **options)


def test_files_and_rows(weights: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "folder"
    result = run(weights, frames(tmp_path / "test.xyz"), output)
    assert {path.name for path in output.iterdir()} == {"mae.json", "mae.csv", "mae.png"}
    assert set(result.paths.values()) == set(output.iterdir())
    values = json.loads((output / "mae.json").read_text())
    assert values["overall"]["energy"]["mae"] == pytest.approx(1.0, rel=1e-4)
    assert values["overall"]["forces"]["mae"] == pytest.approx(0.0, abs=1e-4)
    assert set(values["elements"]) == {"Na", "Cl"}
    with (output / "mae.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["config_type"] for row in rows] == ["bulk", "bulk", "hot"]
    assert rows[2]["source"].endswith("test.xyz, frame 2")
    assert float(rows[0]["energy_error"]) == pytest.approx(-1.0, rel=1e-4)
    assert (output / "mae.png").read_bytes().startswith(b"\x89PNG")
    assert [row["MAE of"] for row in result.rows] == ["all", "bulk", "hot", *sorted_by_forces(values)]
    assert [row["frames"] for row in result.rows] == [3, 2, 1, 3, 3]
    assert result.rows[0]["energy (meV/atom)"] == pytest.approx(1.0, rel=1e-4)


def sorted_by_forces(values: dict[str, Any]) -> list[str]:
    return sorted(values["elements"], key=lambda name: -values["elements"][name]["forces"]["mae"])


def test_a_folder_of_a_run_means_its_best_weights(weights: Path, tmp_path: Path) -> None:
    data = frames(tmp_path / "test.xyz")
    assert run(weights.parent, data, tmp_path / "out").report.overall.energy.count == 3


def test_other_names_and_no_stress(weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = frames(tmp_path / "test.xyz", energy="dft_energy", forces="dft_forces")
    result = run(weights, data, tmp_path / "out", energy_key="dft_energy", forces_key="dft_forces")
    assert result.report.overall.energy.mae == pytest.approx(1.0, rel=1e-4)
    assert result.rows[0]["stress (meV/Å³)"] is None
    assert "stress: 3 of 3 structures have no reference" in caplog.text


def test_a_diverged_prediction_is_said(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def load(given: Path, **_: object) -> PairPotential:
        class Diverged(PairPotential):
            def __call__(self, graph: Graph) -> Prediction:
                prediction = super().__call__(graph)
                return replace(prediction, energy=prediction.energy * float("nan"))

        return Diverged(morse().pair, 5.0)

    monkeypatch.setattr("esen.study.mae.load_potential", load)
    result = run(weights, frames(tmp_path / "test.xyz"), tmp_path / "out")
    assert result.rows[0]["energy (meV/atom)"] is None
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert messages == ["energy: 3 of 3 structures have a NaN or infinite prediction, which is in no mean"]


def test_a_second_run_replaces_the_files_of_the_first(weights: Path, tmp_path: Path) -> None:
    data, output = frames(tmp_path / "test.xyz"), tmp_path / "out"
    output.mkdir()
    (output / "mae.json").write_text("old")
    run(weights, data, output)
    assert json.loads((output / "mae.json").read_text())["structures"] == 3


def test_what_cannot_be_written_leaves_nothing(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("esen.study.mae.parity_plot", full)
    with pytest.raises(InputError, match="No space left on device"):
        run(weights, frames(tmp_path / "test.xyz"), tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"mae.json", "mae.csv"}
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file/out: cannot be written"):
        run(weights, tmp_path / "test.xyz", tmp_path / "file" / "out")


def test_weights_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x\.safetensors: no such file"):
        find_weights(tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=r"no best\.safetensors"):
        find_weights(tmp_path)
    (tmp_path / "last.safetensors").write_bytes(b"")
    assert find_weights(tmp_path) == tmp_path / "last.safetensors"


def test_many_elements_are_cut_short_and_the_worst_come_first() -> None:
    none = Errors(np.nan, np.nan, 0)
    symbols = [f"X{i}" for i in range(20)]
    elements = {
        name: GroupErrors(none, Errors(float(i), float(i), 3) if i else none, none)
        for i, name in enumerate(symbols)
    }
    nothing = Parity(np.zeros(0), np.zeros(0))
    report = MaeReport(
        (), 0, elements["X1"], elements, {}, Counts(0, 0, 0), Counts(0, 0, 0), nothing, nothing, nothing
    )
    rows = mae_rows(report)
    assert [row["MAE of"] for row in rows[:3]] == ["all", "X19", "X18"]
    assert rows[-1]["MAE of"] == "8 more: mae.json"
    assert {tuple(row) for row in rows} == {tuple(rows[0])}
