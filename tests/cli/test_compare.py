"""Options of `esen compare`, and what it prints and writes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from esen_cli.app import app
from tests.study.compare.test_comparison import study


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study(tmp_path_factory.mktemp("study"))


def invoke(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["compare", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def test_tables_and_files(folder: Path, tmp_path: Path) -> None:
    output = invoke(folder, "--output", tmp_path / "comparison")
    assert "±" in output
    assert "Pearson" in output
    names = {path.name for path in (tmp_path / "comparison").iterdir()}
    assert {"comparison.json", "comparison.csv", "comparison.tex", "comparison.md"} <= names
    [figure] = (tmp_path / "comparison").glob("*.png")
    assert figure.read_bytes().startswith(b"\x89PNG")
    content = json.loads((tmp_path / "comparison" / "comparison.json").read_text())
    assert content["base"] == {"": "default"}
    assert {row["variant"] for row in content["variants"]} == {"default", "direct", "bessel"}


def test_list_of_quantities(folder: Path) -> None:
    output = invoke(folder, "--columns", "list")
    assert "energy_mae" in output
    assert "meV/atom/ps" in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--columns", "energy_mea"), "energy_mae"),
        (("--sort", "x"), "--sort x"),
        (("--base", "defualt"), "default"),
        (("--correlate", "energy_mae"), "two quantities"),
        (("--columns", ","), "energy_mae"),
        (("--correlate", "energy_mae,drft"), "drift"),
    ],
)
def test_a_mistake_is_one_line(folder: Path, arguments: tuple[str, str], words: str) -> None:
    output = invoke(folder, *arguments, code=2)
    assert words in output
    assert output.count("\n") == 1


def test_an_empty_folder(tmp_path: Path) -> None:
    assert "no results" in invoke(tmp_path, code=2)


def test_other_results_keep_their_report(folder: Path) -> None:
    cell = folder / "default" / "seed-0" / "mae"
    assert "result.json" in invoke(folder, "--output", cell, code=2)
    assert not (cell / "comparison.json").exists()
    assert "--output" in invoke(folder, "--columns", "list", "--output", folder / "out", code=2)
