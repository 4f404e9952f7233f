import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from esen_cli.app import app

RECIPE = "data: {train: [{path: a.xyz}]}\ntrain: {batch: {atoms: 64}, stages: [{epochs: 1}]}\n"


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `run_training` is called with, in a folder with `recipes/mine.yaml`."""
    made: list[dict[str, Any]] = []

    def run_training(recipe: Any, output: Path, **options: Any) -> SimpleNamespace:
        made.append({"recipe": recipe, "output": output, **options})
        return SimpleNamespace(
            summary=[("energy", 0.5, "meV/atom")], paths={"weights": output / "best.safetensors"}, links={}
        )

    module = ModuleType("esen.study.train")
    module.run_training = run_training  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "esen.study.train", module)
    monkeypatch.chdir(tmp_path)
    Path("recipes").mkdir()
    Path("recipes/mine.yaml").write_text(RECIPE)
    return made


def test_a_recipe_is_run_in_a_fresh_folder(calls: list[dict[str, Any]], tmp_path: Path) -> None:
    Path("runs/mine").mkdir(parents=True)
    result = CliRunner().invoke(
        app, ["train", "recipes/mine.yaml", "--set", "train.seed=3", "--device", "cpu"]
    )
    assert result.exit_code == 0, result.output
    (call,) = calls
    assert call["output"] == Path("runs/mine-2")
    assert (call["resume"], call["device"]) == (False, "cpu")
    assert call["recipe"].train.seed == 3
    assert call["recipe"].data.train[0].path == str(tmp_path / "recipes" / "a.xyz")
    assert "meV/atom" in result.stdout
    assert "runs/mine-2/best.safetensors" in result.stdout


def test_resume_goes_on_in_the_folder_of_the_run(calls: list[dict[str, Any]]) -> None:
    Path("runs/mine").mkdir(parents=True)
    Path("runs/mine/last.safetensors").touch()
    result = CliRunner().invoke(app, ["train", "recipes/mine.yaml", "--resume"])
    assert result.exit_code == 0, result.output
    assert (calls[0]["output"], calls[0]["resume"], calls[0]["device"]) == (Path("runs/mine"), True, "auto")


def test_a_given_folder_is_used_unless_it_holds_a_run(calls: list[dict[str, Any]]) -> None:
    arguments = ["train", "recipes/mine.yaml", "--output", "out"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    Path("out").mkdir()
    Path("out/last.safetensors").touch()
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 2
    assert "--resume" in refused.stderr
    assert CliRunner().invoke(app, [*arguments, "--resume"]).exit_code == 0
    assert [(call["output"], call["resume"]) for call in calls] == [(Path("out"), False), (Path("out"), True)]


def test_nothing_is_run_where_the_recipe_is_wrong(calls: list[dict[str, Any]]) -> None:
    result = CliRunner().invoke(app, ["train", "recipes/mine.yaml", "--set", "train.bacth.atoms=1"])
    assert result.exit_code == 2
    assert result.stderr.startswith(
        "error: --set train.bacth.atoms=1: train.bacth: no such key; did you mean 'batch'?"
    )
    assert calls == []
    assert not Path("runs").exists()


def test_threads(calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    monkeypatch.setattr("torch.set_num_threads", chosen.append)
    assert CliRunner().invoke(app, ["train", "recipes/mine.yaml", "--threads", "3"]).exit_code == 0
    assert CliRunner().invoke(app, ["train", "recipes/mine.yaml"]).exit_code == 0
    assert chosen == [3]
    for bad in ("0", "100000"):
        assert CliRunner().invoke(app, ["train", "recipes/mine.yaml", "--threads", bad]).exit_code == 2


def test_a_dry_run_makes_no_folder_and_prints_what_it_would_take(
    calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def forecast_training(recipe: Any, *, device: str) -> SimpleNamespace:
        asked.append((recipe.data.train[0].path, device))
        return SimpleNamespace(rows=[("steps in all", "1,234", "")])

    module = ModuleType("esen.study.forecast")
    module.forecast_training = forecast_training  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "esen.study.forecast", module)
    result = CliRunner().invoke(app, ["train", "recipes/mine.yaml", "--dry-run", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "1,234" in result.stdout
    assert asked == [(str(Path("recipes/a.xyz").absolute()), "cpu")]
    assert calls == []
    assert not Path("runs").exists()
