"""`esen conductivity` as a user types it."""

import json
from pathlib import Path

import pytest
from ase.build import bulk, molecule
from ase.io import write
from typer.testing import CliRunner

from esen_cli.app import app
from tests.evaluate.conductivity.materials import RELAXED
from tests.evaluate.conductivity.test_inputs import FRAMES

SMALL = ["--fc2", "3,3,3", "--fc3", "2,2,2", "--mesh", "3,3,3", "--no-track"]


@pytest.fixture(autouse=True)
def _work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("al.xyz", bulk("Al", a=RELAXED), format="extxyz")
    write("water.xyz", molecule("H2O"), format="extxyz")
    Path("phonondb.extxyz").write_text(FRAMES)


def conductivity(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["conductivity", *arguments], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def test_aluminium_and_itself() -> None:
    code, out, err = conductivity(
        "emt", "al.xyz", *SMALL, "--no-relax", "--displacement", "0.02", "--no-isotopes"
    )
    assert code == 0
    assert "emt, al: displaced supercells: 1 of 27 atoms" in err
    assert "15 of 8" in err
    changes = "tight, changed: no relaxation, displacement 0.02 Å, no isotopes"
    for words in ("κ_RTA", "3×3×3", " ok ", changes, "runs/conductivity/al.modes.png"):
        assert words in out
    manifest = json.loads(Path("runs/conductivity/manifest.json").read_text())
    assert (manifest["settings"]["name"], manifest["settings"]["isotopes"]) == ("tight", False)
    kappas = "runs/conductivity/emt/kappas.json.gz"
    more = [
        "--protocol",
        "phonondb-103",
        "--temperatures",
        "300,400",
        "--reference",
        kappas,
        "--output",
        "other",
    ]
    code, out, _ = conductivity("emt", "al.xyz", *SMALL, *more, "--no-plots")
    assert code == 0
    for words in (
        "κ_SRME",
        "phonondb-103, NOT the protocol",
        "300 K, 400 K",
        "1 of the 1 materials",
    ):
        assert words in out
    assert not list(Path("other").glob("*.png"))


def test_the_benchmark_is_run_by_its_protocol_and_failures_are_exit_code_1() -> None:
    code, out, _ = conductivity("emt", "phonondb.extxyz", "--frames", ":1", "--no-track")
    assert code == 1
    assert "protocol phonondb-103: Póta" in out
    assert "NOT the protocol" not in out
    assert "the potential does not know O, Zn" in out
    assert "mp-1 ZnO" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["emt", "none.cif"], "none.cif: no such file"),
        (["emt", "water.xyz"], "water.xyz"),
        (["nothing", "al.xyz"], "nothing: no such file"),
        (["emt", "al.xyz", "--mesh", "0"], "--mesh 0: "),
        (["emt", "al.xyz", "--displacement", "0"], "--displacement 0.0: "),
        (["emt", "al.xyz", "--displacement", "nan"], "--displacement nan: "),
        (["emt", "al.xyz", "--temperatures", "300,0"], "--temperatures 300,0: "),
        (["emt", "al.xyz", "--temperatures", "300,300"], "expected different temperatures"),
        (["emt", "al.xyz", "--temperatures", "warm"], "--temperatures warm: "),
        (["emt", "al.xyz", "--fc3-width", "-1"], "--fc3-width -1: "),
        (["emt", "al.xyz", "--reference", "none.json"], "--reference none.json: "),
        (["emt", "al.xyz", "--reference", "al.xyz"], "al.xyz: "),
        (["emt", "al.xyz", "--dtype", "float64"], "--dtype float64: "),
        (["emt", "phonondb.extxyz", "--fc2", "2,2,2"], "--fc2: "),
    ],
)
def test_mistakes_are_exit_code_2(arguments: list[str], message: str) -> None:
    code, out, err = conductivity(*arguments, "--no-track")
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not Path("runs").exists()
