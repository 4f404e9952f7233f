"""`esen elastic` as a user types it."""

import json
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write
from typer.testing import CliRunner

from esen_cli.app import app


@pytest.fixture(autouse=True)
def _work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("cu.xyz", bulk("Cu"), format="extxyz")
    write("pair.xyz", Atoms("Cu2", [[0, 0, 0], [0, 0, 2.2]]), format="extxyz")


def elastic(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["elastic", *arguments, "--no-track"], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def test_copper() -> None:
    code, out, err = elastic("emt", "cu.xyz", "--strain", "0.004", "--eos")
    assert (code, err) == (0, "")
    for words in ("K (GPa)", "134.4", "stable", "B0 (GPa)", "172.6", "runs/elastic/elastic.csv", "eos.png"):
        assert words in out
    manifest = json.loads(Path("runs/elastic/manifest.json").read_text())
    assert manifest["settings"]["strains"] == [0.004]
    assert manifest["settings"]["eos"] is True


def test_a_molecule_is_one_line_and_exit_code_1() -> None:
    code, out, _ = elastic("emt", "pair.xyz")
    assert code == 1
    assert "pair: pair.xyz" in out
    assert "periodic" in out


@pytest.mark.parametrize("strain", ["0", "0.5", "-0.01", "nan"])
def test_a_strain_outside_of_the_range_is_exit_code_2(strain: str) -> None:
    code, _, err = elastic("emt", "cu.xyz", f"--strain={strain}")
    assert code == 2
    assert strain in err
    assert not Path("runs").exists()
