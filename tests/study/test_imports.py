"""`esen import` from file to folder."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from typer.testing import CliRunner

from esen.errors import InputError
from esen.md.calculator import EsenCalculator
from esen.models.checkpoint import read_checkpoint
from esen.recipe import load_recipe
from esen.study.imports import Licence, find_licence, run_import
from esen_cli.app import app

FOLDER = Path(__file__).parents[1] / "models" / "convert" / "checkpoint"
CHECKPOINT = FOLDER / "best_ddp_checkpoint.pt"


def test_the_folder_is_a_potential(tmp_path: Path) -> None:
    result = run_import(CHECKPOINT, tmp_path / "out", outputs=[FOLDER])
    assert result.agrees
    assert {c.outputs for c in result.table.records} == {path.name for path in FOLDER.glob("*.npz")}
    assert {c.quantity for c in result.table.records} == {"energy", "forces", "stress"}
    data = np.load(FOLDER / "best_nacl8.npz")
    from ase import Atoms

    atoms = Atoms(data["numbers"], data["positions"], cell=data["cell"], pbc=data["pbc"])
    atoms.calc = EsenCalculator(tmp_path / "out")
    assert atoms.get_potential_energy() == pytest.approx(float(data["energy"]), rel=2e-5)
    recipe = load_recipe(tmp_path / "out" / "recipe.yaml")
    assert recipe.model == result.imported.potential.spec
    assert recipe.train.optimizer.learning_rate == 4e-4
    with safe_open(tmp_path / "out" / "best.safetensors", framework="pt") as file:
        assert "weights/scale" in file.keys()  # noqa: SIM118  # not a mapping


def test_the_licence_goes_with_the_weights(tmp_path: Path) -> None:
    copy = tmp_path / "models"
    copy.mkdir()
    shutil.copy(CHECKPOINT, copy / "mine.pt")
    terms = "# The Weights Licence\nBe good.\n"
    (copy / "LICENSE.txt").write_text(terms)
    run_import(copy / "mine.pt", tmp_path / "out")
    assert (tmp_path / "out" / "LICENSE").read_text() == terms
    assert read_checkpoint(tmp_path / "out" / "best.safetensors").origin["licence"]["text"] == terms
    (tmp_path / "other").write_text("Other terms")
    result = run_import(copy / "mine.pt", tmp_path / "out2", licence=tmp_path / "other")
    assert ("licence", "Other terms (other)") in result.rows
    none = run_import(CHECKPOINT, tmp_path / "out3")
    assert "--licence" in dict(none.rows)["licence"]
    assert not (tmp_path / "out3" / "LICENSE").exists()


def stored(tmp_path: Path, **changes: Any) -> Path:
    data = dict(np.load(FOLDER / "best_water.npz")) | changes
    np.savez(tmp_path / "stored.npz", **data)
    return tmp_path / "stored.npz"


def test_outputs_that_differ_are_found(tmp_path: Path) -> None:
    forces = np.load(FOLDER / "best_water.npz")["forces"].copy()
    forces[0, 0] += 1e-3
    result = run_import(CHECKPOINT, tmp_path / "out", outputs=[stored(tmp_path, forces=forces)])
    assert not result.agrees
    assert [c.agrees for c in result.table.records] == [True, False]
    report = json.loads((tmp_path / "out" / "import.json").read_text())
    assert [entry["agrees"] for entry in report["verified"]] == [True, False]
    not_a_number = run_import(CHECKPOINT, tmp_path / "out", outputs=[stored(tmp_path, energy=np.nan)])
    assert not not_a_number.agrees
    summary = json.loads((tmp_path / "out" / "result.json").read_text())
    assert [(row["quantity"], row["agrees"]) for row in summary["rows"]] == [
        ("energy", False),
        ("forces", True),
    ]
    assert summary["potentials"]["out"]["sha256"]


def test_nothing_to_compare_with(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.npz"):
        run_import(CHECKPOINT, tmp_path / "out", outputs=[tmp_path])
    np.savez(tmp_path / "bad.npz", numbers=np.array([1]))
    with pytest.raises(InputError, match=r"bad\.npz"):
        run_import(CHECKPOINT, tmp_path / "out", outputs=[tmp_path / "bad.npz"])
    assert not (tmp_path / "out").exists()


def test_the_command(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["import", str(CHECKPOINT), str(tmp_path / "out"), "--verify"])
    assert done.exit_code == 0, done.output
    assert "105,249" in done.output
    assert "best_nacl8.npz" in done.output
    energy = float(np.load(FOLDER / "best_water.npz")["energy"]) + 1
    differs = ["--outputs", str(stored(tmp_path, energy=energy))]
    failed = CliRunner().invoke(app, ["import", str(CHECKPOINT), str(tmp_path / "out"), *differs])
    assert failed.exit_code == 1
    assert "does not give the stored outputs" in failed.output
    missing = CliRunner().invoke(app, ["import", str(tmp_path / "no.pt"), str(tmp_path / "out")])
    assert missing.exit_code == 2
    assert "no such file" in missing.output


def test_files_of_others_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("mine")
    refused = CliRunner().invoke(app, ["import", str(CHECKPOINT), str(tmp_path)])
    assert refused.exit_code == 2
    assert "holds other files" in refused.output
    assert (tmp_path / "recipe.yaml").read_text() == "mine"


def test_the_licence_of_an_earlier_import_does_not_stay(tmp_path: Path) -> None:
    (tmp_path / "terms").write_text("Terms")
    run_import(CHECKPOINT, tmp_path / "out", licence=tmp_path / "terms")
    assert (tmp_path / "out" / "LICENSE").exists()
    run_import(CHECKPOINT, tmp_path / "out")
    assert not (tmp_path / "out" / "LICENSE").exists()


def test_what_is_named_comes_before_what_lies_beside(tmp_path: Path) -> None:
    checkpoint = tmp_path / "best.pt"
    assert find_licence(checkpoint, None) == Licence("", "")
    (tmp_path / "LICENCE.md").write_text("# Beside\n")
    (tmp_path / "mine").write_text("Mine")
    (tmp_path / "LICENSES").mkdir()
    assert find_licence(checkpoint, None) == Licence("LICENCE.md", "# Beside\n")
    assert find_licence(checkpoint, tmp_path / "mine") == Licence("mine", "Mine")


def test_it_is_told_in_one_line() -> None:
    assert Licence("L", "\n# The Terms #\nBe good.").describe() == "The Terms (L)"
    assert len(Licence("L", "x" * 500).describe()) < 80
    assert "give it by --licence FILE" in Licence("", "").describe()


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("none", "binary"):
        with pytest.raises(InputError, match=name):
            find_licence(tmp_path / "best.pt", tmp_path / name)
