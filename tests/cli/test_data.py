"""`esen data` as a command."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from esen_cli.app import app
from tests.train.small import crystals, write_frames


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["data", *map(str, words)], catch_exceptions=False)
    return result.exit_code, result.output


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    return write_frames(tmp_path / "a.xyz", crystals(6))


def test_convert_and_what_follows(frames: Path, tmp_path: Path) -> None:
    output = tmp_path / "sets" / "a.esendata"
    for options in ([], ["--resume"], ["--restart"]):
        code, said = run("convert", frames, frames.parent / "*.xyz", output, *options)
        assert code == 0, said
        assert "frames                         12" in said
    assert json.loads((output / "manifest.json").read_text())["frames"] == 12
    code, said = run("convert", frames, output)
    assert (code, "holds another conversion (other sources, files)" in said) == (2, True)
    code, said = run("info", output)
    assert (code, "made by esen" in said) == (0, True)


def test_references(frames: Path, tmp_path: Path) -> None:
    code, said = run("references", frames, "-o", tmp_path / "r.json")
    assert code == 0
    assert "write data.references: {file:" in said
    assert "only in sums (rank 1 of 2)" in said
    code, said = run("references", frames, "--method", "isolated_atoms")
    assert (code, "no isolated atom of O, Mg" in said) == (2, True)


def test_check(frames: Path, tmp_path: Path) -> None:
    code, said = run("check", frames, "--output", tmp_path / "c.json")
    assert code == 0
    assert "labels: stress" in said
    copy = tmp_path / "copy.xyz"
    copy.write_text(frames.read_text().replace("energy=-", "energy=-9"))
    code, said = run("check", frames, copy)
    assert code == 1
    assert "two energies" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("info", "none.xyz"), "none.xyz: no such file"),
        (("info", "a.xyz", "--format", "cif"), "format is 'cif', expected extxyz"),
        (("info", "a.xyz", "--energy-key", "E"), "no energy under 'E'; the frame has"),
        (("info", "a.xyz", "--frames", "x"), "'x' is not a Python slice"),
        (("convert", "a.xyz", "a.xyz"), "is a file"),
        (("check", "a.xyz", "--potential", "no:thing"), "there is no module 'no'"),
    ],
)
def test_mistakes_are_one_line(
    words: tuple[str, ...], message: str, frames: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(frames.parent)
    code, said = run(*words)
    assert code == 2, said
    assert message in said
    assert len(said.strip().splitlines()) == 1
