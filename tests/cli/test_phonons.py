"""`esen phonons` as a user types it."""

import json
from pathlib import Path

import pytest
from ase.build import bulk, molecule
from ase.io import write
from typer.testing import CliRunner

from esen_cli.app import app
from tests.evaluate.phonons.crystals import NACL

SMALL = ["--supercell", "2,2,2", "--no-relax", "--no-track"]


@pytest.fixture(autouse=True)
def _work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("cu.xyz", bulk("Cu", cubic=True), format="extxyz")
    write("water.xyz", molecule("H2O"), format="extxyz")


def phonons(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["phonons", *arguments], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def test_copper() -> None:
    code, out, err = phonons("emt", "cu.xyz", *SMALL, "--displacement", "0.02")
    assert (code, err) == (0, "")
    for words in ("true ω_max", "stable", "displacement 0.02"):
        assert words in out
    assert "runs/phonons/phonons.csv" in out
    manifest = json.loads(Path("runs/phonons/manifest.json").read_text())
    assert manifest["settings"]["displacement"] == 0.02
    assert manifest["settings"]["relax"] is None


def test_the_force_sets_of_the_input() -> None:
    code, out, _ = phonons("reference", str(NACL), "--protocol", "mdr-fair", "--no-track")
    assert code == 0
    for words in ("299.6", "75.074", "-6.995", "48.050", "MAE(S)", "1 of 1", "FAIR"):
        assert words in out


def test_a_crystal_that_fails_is_exit_code_1() -> None:
    code, out, err = phonons("emt", "water.xyz", "cu.xyz", "--also", "emt", *SMALL)
    assert (code, "Traceback" in out + err) == (1, False)
    assert "emt, water: " in out
    assert "emt-2, water: " in out
    assert "phonons need a crystal" in out
    assert "stable" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["emt", "none.cif"], "none.cif: no such file"),
        (["nothing", "cu.xyz"], "nothing: no such file"),
        (["emt", "cu.xyz", "--method", "hessian"], "--method hessian: "),
        (["emt", "cu.xyz", "--method", "hessian", "--displacement", "0.1"], "displaces nothing"),
        (["emt", "cu.xyz", "--displacement", "0.1", "--displacements", "0.1"], "give one of them"),
        (["emt", "cu.xyz", "--displacements", "0.1,x"], "--displacements 0.1,x"),
        (["emt", "cu.xyz", "--displacements", "0.1,0.1"], "expected different lengths"),
        (["emt", "cu.xyz", "--displacement", "0"], "between 0 and 1 Å"),
        (["emt", "cu.xyz", "--supercell", "2"], "--supercell '2'"),
        (["emt", "cu.xyz", "--dtype", "float64"], "--dtype float64: "),
    ],
)
def test_mistakes_are_exit_code_2(arguments: list[str], message: str) -> None:
    code, out, err = phonons(*arguments, "--no-track")
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not Path("runs").exists()
