"""`esen mae` from files to files, with potentials that need no training."""

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from matplotlib.figure import Figure

from esen.data.readers import Reading
from esen.errors import InputError
from esen.evaluate.report import Errors, GroupErrors, MaeReport, Parity
from esen.graph.types import Graph, Prediction
from esen.md.calculator import EsenCalculator, find_weights
from esen.recipe import SourceSpec
from esen.study.mae import MaeResult, mae_rows, run_mae
from tests.toys import PairPotential, morse

MORSE = "tests.toys:morse"


@pytest.fixture(autouse=True)
def _quick_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than everything else."""
    monkeypatch.setattr(Figure, "savefig", lambda _, file, **__: file.write(b"\x89PNG"))


class Diverged(PairPotential):
    def __call__(self, graph: Graph) -> Prediction:
        prediction = super().__call__(graph)
        return replace(prediction, energy=prediction.energy / 0)


class NoStress(PairPotential):
    def __call__(self, graph: Graph) -> Prediction:
        prediction = super().__call__(graph)
        return replace(prediction, stress=prediction.stress * float("nan"))


class Fails(EMT):  # type: ignore[misc]  # ASE has no types
    """An ASE calculator that cannot do structures with more than two atoms."""

    def calculate(self, atoms: Atoms, *rest: object) -> None:
        if len(atoms) > 2:
            raise RuntimeError("no convergence\nafter 60 cycles")
        super().calculate(atoms, *rest)


def diverged() -> PairPotential:
    return Diverged(morse().pair, 5.0)


def no_stress() -> PairPotential:
    return NoStress(morse().pair, 5.0)


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
        atoms.info |= {"config_type": kind, "temperature": 300 * (1 + seed // 2)}
        if names:
            atoms.info[names["energy"]] = values["energy"]
            atoms.arrays[names["forces"]] = values["forces"]
        else:
            atoms.calc = SinglePointCalculator(atoms, **values)
        images.append(atoms)
    write(path, images, format="extxyz")
    return path


def metals(path: Path, *symbols: str) -> Path:
    """A frame of each metal, with the energies and forces of EMT as labels."""
    images = []
    for symbol in symbols:
        atoms = bulk(symbol, "fcc", a=4.0, cubic=symbol == "Au")
        atoms.rattle(0.05)
        atoms.calc = EMT() if symbol != "Fe" else None
        values = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()} if atoms.calc else {}
        atoms.calc = SinglePointCalculator(atoms, **(values or {"energy": 0.0}))
        images.append(atoms)
    write(path, images, format="extxyz")
    return path


def run(potentials: str | Sequence[str], data: Path, output: Path, **more: Any) -> MaeResult:
    given = [potentials] if isinstance(potentials, str) else potentials
    return run_mae(given, [SourceSpec(path=str(data))], output=output, batch_atoms=2, **more)


def test_files_and_rows(tmp_path: Path) -> None:
    output = tmp_path / "new" / "folder"
    result = run(MORSE, frames(tmp_path / "test.xyz"), output)
    assert set(result.paths.values()) == set(output.iterdir())
    values = json.loads((output / "mae.json").read_text())
    assert values["overall"]["energy"]["mae"] == pytest.approx(1.0, rel=1e-4)
    assert values["overall"]["forces"]["mae"] == pytest.approx(0.0, abs=1e-4)
    assert set(values["config_types"]) == {"bulk", "hot"}
    with (output / "mae.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["config_type"] for row in rows] == ["bulk", "bulk", "hot"]
    assert rows[2]["source"].endswith("test.xyz, frame 2")
    assert float(rows[0]["energy_error"]) == pytest.approx(-1.0, rel=1e-4)
    assert (output / "mae.png").read_bytes().startswith(b"\x89PNG")
    shown = result.table.texts()
    elements = sorted(values["elements"], key=lambda name: -values["elements"][name]["forces"]["mae"])
    assert [row["MAE of"] for row in shown] == ["all", "bulk", "hot", *elements]
    assert [row["frames"] for row in shown] == ["3", "2", "1", "3", "3"]
    assert shown[0]["energy (meV/atom)"] == "1"


def test_result_says_what_was_compared(tmp_path: Path) -> None:
    run([MORSE, "emt"], metals(tmp_path / "test.xyz", "Cu", "Au"), tmp_path / "out", calculator_args=())
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["command"] == "mae"
    assert result["potentials"]["emt"]["given"] == "emt"
    assert result["settings"]["batch_atoms"] == 2
    units = {column["name"]: column["unit"] for column in result["columns"]}
    assert (units["energy_mae"], units["forces_rmse"]) == ("meV/atom", "meV/Å")
    exact = next(row for row in result["rows"] if row["potential"] == "emt" and row["kind"] == "all")
    assert exact["energy_mae"] == pytest.approx(0.0, abs=1e-4)
    assert exact["stress_mae"] is None
    assert {row["target"] for row in result["worst_frames"]["rows"]} == {"energy", "forces"}


def test_several_potentials_stand_in_one_table(tmp_path: Path) -> None:
    output = tmp_path / "out"
    result = run([MORSE, "emt"], metals(tmp_path / "test.xyz", "Cu", "Au"), output)
    rows = [(row["MAE of"], row["potential"]) for row in result.table.texts()]
    assert rows[:2] == [("all", "morse"), ("all", "emt")]
    assert sorted(rows[2:]) == [("Au", "emt"), ("Au", "morse"), ("Cu", "emt"), ("Cu", "morse")]
    for label in ("morse", "emt"):
        assert {path.name for path in (output / label).iterdir()} == {"mae.json", "mae.csv", "mae.png"}
    assert len((output / "errors.csv").read_text().splitlines()) == 1 + len(rows)


def test_the_worst_frames_are_named(tmp_path: Path) -> None:
    data = frames(tmp_path / "test.xyz")
    result = run("tests.toys:lennard_jones", data, tmp_path / "out")
    report = next(iter(result.reports.values()))
    worst = [row for row in result.worst.texts() if row["worst frames"] == "forces"]
    errors = {frame.source: frame.largest["forces"] for frame in report.frames}
    assert [row["frame"] for row in worst] == sorted(errors, key=lambda source: -errors[source])
    assert worst[0]["largest error"] == f"{max(errors.values()):.4g}"


def test_groups_by_a_key_of_the_frames(tmp_path: Path) -> None:
    data = frames(tmp_path / "test.xyz")
    result = run(MORSE, data, tmp_path / "out", group_by="temperature")
    assert [row["MAE of"] for row in result.table.texts()][1:3] == ["300", "600"]
    assert (tmp_path / "out" / "mae.csv").read_text().startswith("source,temperature,")
    with pytest.raises(InputError, match="config_type"):
        run(MORSE, data, tmp_path / "out", group_by="no_such_key")


def test_other_names_and_no_stress(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = frames(tmp_path / "test.xyz", energy="dft_energy", forces="dft_forces")
    reading = Reading("dft_energy", "dft_forces", required=())
    result = run(MORSE, data, tmp_path / "out", reading=reading)
    shown = result.table.texts()[0]
    assert shown["energy (meV/atom)"] == "1"
    assert shown["stress (meV/Å³)"] is None
    assert "stress: 3 of 3" in caplog.text


def test_molecules_are_not_said_to_lack_a_stress(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    atoms = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]])
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.zeros((2, 3)))
    data = tmp_path / "dimer.xyz"
    write(data, atoms, format="extxyz")
    report = run(MORSE, data, tmp_path / "out").reports["morse"]
    assert report.overall.errors["forces"].count
    assert report.missing["stress"] == 1
    assert "stress" not in caplog.text


@pytest.mark.parametrize(("only", "other"), [("energy", "forces"), ("forces", "energy")])
def test_energies_or_forces_alone(only: str, other: str, tmp_path: Path) -> None:
    data = frames(tmp_path / "test.xyz")
    reading = Reading(**{f"{other}_key": "none"}, required=())
    report = run(MORSE, data, tmp_path / "out", reading=reading).reports["morse"]
    assert report.overall.errors[only].count
    assert report.missing[other] == 3


def test_frames_without_labels_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "test.xyz", bulk("Cu"), format="extxyz")
    with pytest.raises(InputError, match="--energy-key"):
        run("emt", tmp_path / "test.xyz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("potential", "words"),
    [
        ("diverged", "energy: 3 of 3 structures have a NaN or infinite"),
        ("no_stress", "stress: the potential"),
    ],
)
def test_what_is_in_no_mean_is_said(
    potential: str, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = run(f"tests.study.test_mae:{potential}", frames(tmp_path / "test.xyz"), tmp_path / "out")
    column = {"diverged": "energy (meV/atom)", "no_stress": "stress (meV/Å³)"}[potential]
    assert result.table.texts()[0][column] is None
    (line,) = [record.getMessage() for record in caplog.records]
    assert words in line
    named = {row["worst frames"]: row["largest error"] for row in result.worst.texts()}
    assert named.get("energy") == ("not finite" if potential == "diverged" else "1")
    assert ("stress" in named) == (potential == "diverged")


def test_frames_that_cannot_be_predicted_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = metals(tmp_path / "test.xyz", "Cu", "Fe", "Au")
    result = run(["emt", "tests.study.test_mae:Fails"], data, tmp_path / "out")
    assert [row["frames"] for row in result.table.texts()[:2]] == ["2", "1"]
    assert "emt: 1 of 3 structures are left out" in caplog.text
    assert "RuntimeError: no convergence" in caplog.text
    left_out = json.loads((tmp_path / "out" / "result.json").read_text())["left_out"]
    assert [one["source"].split(", ")[-1] for one in left_out["Fails"]] == ["frame 1", "frame 2"]
    with pytest.raises(InputError, match="Fe"):
        run("emt", metals(tmp_path / "iron.xyz", "Fe"), tmp_path / "out")


def test_a_potential_that_predicts_nothing_does_not_stop_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = metals(tmp_path / "test.xyz", "Au")
    result = run(["tests.study.test_mae:Fails", "lj", "emt"], data, tmp_path / "out")
    assert (list(result.reports), list(result.failures)) == (["emt"], ["Fails", "lj"])
    assert "Au" in result.failures["lj"]
    assert "no convergence" in caplog.text
    with pytest.raises(InputError, match="Au"):
        run(["tests.study.test_mae:Fails", "lj"], data, tmp_path / "other")


def test_a_second_run_replaces_the_files_of_the_first(tmp_path: Path) -> None:
    data, output = frames(tmp_path / "test.xyz"), tmp_path / "out"
    output.mkdir()
    (output / "mae.json").write_text("old")
    run(MORSE, data, output)
    assert json.loads((output / "mae.json").read_text())["structures"] == 3


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file/out"):
        run(MORSE, frames(tmp_path / "test.xyz"), tmp_path / "file" / "out")


def test_weights_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x\.safetensors"):
        find_weights(tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=r"best\.safetensors"):
        find_weights(tmp_path)
    (tmp_path / "last.safetensors").write_bytes(b"")
    assert find_weights(tmp_path) == tmp_path / "last.safetensors"


def test_many_elements_are_cut_short_and_the_worst_come_first() -> None:
    none = Errors(np.nan, np.nan, 0)
    elements = {
        f"X{i}": GroupErrors(
            1, {"energy": none, "forces": Errors(float(i), 0.0, 3) if i else none, "stress": none}
        )
        for i in range(20)
    }
    zero = dict.fromkeys(("energy", "forces", "stress"), 0)
    parity = dict.fromkeys(zero, Parity(np.zeros(0), np.zeros(0)))
    report = MaeReport((), 0, elements["X1"], elements, {}, zero, zero, frozenset(), parity)
    rows = mae_rows(report)
    assert [row["MAE of"] for row in rows[:3]] == ["all", "X19", "X18"]
    assert str(rows[-1]["MAE of"]).startswith("8 more")
    assert {tuple(row) for row in rows} == {tuple(rows[0])}
