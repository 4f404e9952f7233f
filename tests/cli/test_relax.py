"""`esen relax` as a user types it."""

import csv
import json
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import read, write
from typer.testing import CliRunner

from esen_cli.app import app

KILLER = '''
"""EMT that silver kills."""

import os

from ase.calculators.emt import EMT


class Killed(EMT):
    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        if self.atoms.numbers[0] == 47:
            os.kill(os.getpid(), 9)
'''


@pytest.fixture(autouse=True)
def _work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("cu.xyz", bulk("Cu", a=3.7), format="extxyz")
    write("metals.xyz", [bulk(metal) for metal in ("Cu", "Ag", "Al")], format="extxyz")


def relax(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["relax", *arguments, "--no-track"], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def test_copper() -> None:
    code, out, err = relax("emt", "cu.xyz", "--fmax", "0.001", "--optimizer", "lbfgs", "--keep-symmetry")
    assert (code, err) == (0, "")
    for words in ("V/V0", "0.9133", "225", "converged", "runs/relax/relax.csv", "runs/relax/relaxed.extxyz"):
        assert words in out
    manifest = json.loads(Path("runs/relax/manifest.json").read_text())
    assert manifest["settings"]["optimizer"] == "lbfgs"
    assert manifest["settings"]["keep_symmetry"] is True
    assert read("runs/relax/relaxed.extxyz").cell.lengths()[0] * 2**0.5 == pytest.approx(3.59, abs=0.002)


def test_what_is_not_converged_is_exit_code_1() -> None:
    code, out, err = relax("emt", "cu.xyz", "--steps", "1", "--output", "here")
    assert (code, err) == (1, "")
    assert "not converged" in out
    code, _, _ = relax("emt", "cu.xyz", "--steps", "1", "--no-cell", "--output", "held")
    assert code == 0  # one atom, no force


def test_what_kills_its_process_is_recorded_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "killer.py").write_text(KILLER)
    monkeypatch.syspath_prepend(str(tmp_path))
    code, out, err = relax("killer:Killed", "metals.xyz", "--output", "here")
    assert (code, err) == (1, "")
    assert "metals#1: its process was killed by SIGKILL" in out
    rows = list(csv.DictReader(Path("here/relax.csv").read_text().splitlines()))
    assert [row["verdict"] for row in rows] == ["converged", "failed", "converged"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["emt", "none.cif"], "none.cif: no such file"),
        (["nothing", "cu.xyz"], "nothing: no such file"),
        (["emt", "cu.xyz", "--fmax", "0"], "--fmax 0: "),
        (["emt", "cu.xyz", "--fmax", "nan"], "--fmax nan: "),
        (["emt", "cu.xyz", "--fmax", "-1"], "--fmax -1: "),
        (["emt", "cu.xyz", "--steps", "0"], "--steps 0: "),
        (["emt", "cu.xyz", "--batch-atoms", "0"], "--batch-atoms 0: "),
        (["emt", "cu.xyz", "--symprec", "0"], "--symprec 0: "),
        (["emt", "cu.xyz", "--frames", "5:"], "selects nothing"),
        (["emt", "cu.xyz", "--dtype", "float64"], "--dtype float64: "),
    ],
)
def test_mistakes_are_exit_code_2(arguments: list[str], message: str) -> None:
    code, out, err = relax(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not Path("runs").exists()
