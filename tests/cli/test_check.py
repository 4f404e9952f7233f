import json
import sys
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write
from typer.testing import CliRunner

from esen.evaluate.laws.run import LAWS
from esen_cli.app import app


@pytest.fixture(autouse=True)
def _work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=1)
    write("cu.xyz", [atoms, atoms], format="extxyz")
    write("atom.xyz", Atoms("Cu"), format="extxyz")
    Path("mine.py").write_text(
        "from tests.evaluate.laws import known\n"
        "def swirling(strength=0.01):\n"
        "    return known.swirling(strength)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("mine", None)  # that of an earlier test


def check(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["check", *arguments], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def test_laws_that_hold_are_exit_code_0() -> None:
    code, out, _ = check("emt", "cu.xyz", "--laws", "rotation,curl,stress")
    assert code == 0
    assert "3 of 3 laws hold." in out
    assert "[1] cu.xyz, frame 0" in out
    assert json.loads(Path("runs/check-emt/check.json").read_text())["holds"] is True
    assert check("emt", "cu.xyz", "--laws", "batch")[0] == 0
    assert Path("runs/check-emt-2/check.json").is_file()


def test_a_broken_law_is_exit_code_1() -> None:
    code, out, _ = check("mine:swirling", "cu.xyz", "--laws", "curl,batch", "--output", "out")
    assert code == 1
    assert "FAIL" in out
    assert "1 of 2 laws hold. Broken: curl (0.0" in out
    assert "do not use it for NVE dynamics or phonons" in out
    assert "\\n" not in out
    values = json.loads(Path("out/check.json").read_text())
    assert values["holds"] is False
    assert [finding["verdict"] for finding in values["findings"]] == ["fail", "pass"]
    assert {path.name for path in Path("out").iterdir()} == {"check.json", "result.json", "report.html"}


def test_one_atom_and_all_frames() -> None:
    code, out, _ = check(
        "emt", "atom.xyz", "cu.xyz", "--frames", ":", "--laws", "rotation,permutation,pole,cell"
    )
    assert code == 0
    assert "[3] cu.xyz, frame 1" in out


def test_options_reach_the_factory() -> None:
    given = ["--calculator-args", "strength=0.5", "--seed", "3", "--laws", "curl"]
    assert check("mine:swirling", "cu.xyz", *given)[0] == 1
    values = json.loads(Path("runs/check-mine-swirling/check.json").read_text())
    assert values["seed"] == 3
    (strong,) = values["findings"]
    assert check("mine:swirling", "cu.xyz", "--laws", "curl", "--seed", "3", "--output", "weak")[0] == 1
    (weak,) = json.loads(Path("weak/check.json").read_text())["findings"]
    assert 10 * weak["value"] < strong["value"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none"], "none: no such file"),
        (["none.safetensors"], "no such file"),
        (["no_such_module:Thing"], "no_such_module:Thing: "),
        (["emt", "none.xyz"], "none.xyz: no such file"),
        (["emt", "cu.xyz", "--frames", "9:"], "selects nothing"),
        (["emt", "--laws", "curls"], "'curls'"),
        (["emt", "--laws", ","], "--laws: "),
        (["emt", "--dtype", "float32"], "--dtype float32: "),
        (["emt", "--calculator-args", "rc"], "KEY=VALUE"),
        (["emt", "--output", "cu.xyz"], "cu.xyz is a file"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(arguments: list[str], words: str) -> None:
    code, out, err = check(*arguments)
    assert code == 2
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in out + err
    assert not Path("runs").exists()


def test_ctrl_c_ends_with_130_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(LAWS, "rotation", interrupted)
    code, _, err = check("emt", "cu.xyz", "--laws", "rotation")
    assert (code, err.strip()) == (130, "interrupted")
    assert not Path("runs").exists()
