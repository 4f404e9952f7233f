"""What a training would take."""

import math
from pathlib import Path
from typing import Any

import pytest

import esen.study.forecast
from esen.errors import InputError
from esen.models.cost import parameter_count
from esen.recipe import Recipe
from esen.study.forecast import forecast_training
from esen.text import duration
from tests.train.small import crystals, molecule, recipe_of, write_frames


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    return write_frames(tmp_path / "train.xyz", [*crystals(14), molecule(8, 12, 8)])


def rows_of(recipe: Recipe) -> list[tuple[str, object, str]]:
    return forecast_training(recipe, device="cpu").rows


def told(rows: list[tuple[str, object, str]], name: str) -> list[tuple[object, str]]:
    return [(value, unit) for key, value, unit in rows if key == name]


def test_nothing_is_trained_and_nothing_is_written(
    frames: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    recipe = recipe_of(frames)
    rows = rows_of(recipe)
    assert set(tmp_path.iterdir()) == before
    assert told(rows, "frames to train on") == [("12", "25 atoms")]
    assert told(rows, "parameters") == [(f"{parameter_count(recipe.model):,}", "conservative")]
    assert told(rows, "steps an epoch") == [("4", "2 epochs")]
    assert told(rows, "steps in all") == [("8", "")]
    ((batch, what),) = told(rows, "largest batch")
    assert batch == "3 structures"
    assert what.startswith("7 atoms")
    assert what.endswith("in one part")


def test_stages_are_told_one_by_one(frames: Path) -> None:
    stages: list[dict[str, Any]] = [
        {"epochs": 3, "forces": {"kind": "direct"}, "dens": {}, "batch": {"structures": 6}},
        {"epochs": 1},
    ]
    recipe = recipe_of(frames, model__lmax=2, train__stages=stages, train__micro_batch_atoms=4)
    rows = rows_of(recipe)
    assert told(rows, "stage 1: direct, DeNS") == told(rows, "stage 2: conservative") == [("", "")]
    assert [unit for _, unit in told(rows, "parameters")] == ["direct", "conservative"]
    assert told(rows, "steps an epoch") == [("2", "3 epochs"), ("4", "1 epochs")]
    assert told(rows, "steps in all") == [("10", "")]
    assert told(rows, "largest batch")[0][1].endswith(" parts")


def test_totals_are_those_of_the_rows(frames: Path) -> None:
    forecast = forecast_training(recipe_of(frames), device="cpu")
    assert forecast.steps == 8
    assert told(forecast.rows, "time in all")[0][0] == duration(forecast.seconds)


def test_a_step_that_takes_long_is_not_made(frames: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def seconds(_: Any, __: Any, parts: list[Any]) -> float:
        sizes.append(sum(part.graph.num_structures for part in parts))
        return 1.0 * sum(part.graph.num_edges for part in parts)

    monkeypatch.setattr(esen.study.forecast, "_seconds", seconds)
    rows = rows_of(recipe_of(frames))
    assert set(sizes) == {1}
    ((_, how),) = told(rows, "time of a step")
    assert how == "from that of one structure; no whole batch was tried"


def test_the_forecast_grows_with_the_edges_and_the_weights(frames: Path) -> None:
    def forecast(**changes: Any) -> float:
        ((value, _),) = told(rows_of(recipe_of(frames, train__memory="fast", **changes)), "memory, forecast")
        return float(str(value).split()[0])

    wide = {f"model__{name}_channels": 96 for name in ("sphere", "hidden", "edge")}
    small, large = forecast(**wide), forecast(**wide, train__batch={"structures": 12})
    assert 0 < small < large
    assert math.isfinite(large)


def test_the_forecast_says_what_the_first_step_takes_once(frames: Path) -> None:
    ((value, _),) = told(rows_of(recipe_of(frames, train__memory="fast")), "memory, forecast")
    assert value == "0.04 GB"  # of a network that takes next to nothing


def test_precision_and_compilation_are_said(frames: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = rows_of(recipe_of(frames, train__precision="bf16", train__compile=True))
    assert told(rows, "memory, forecast")[0][1].startswith("at most, of which")
    assert told(rows, "time of a step")[0][1].endswith("median size, not compiled")
    rows_of(recipe_of(frames, train__precision="tf32"))
    assert "tf32" in capsys.readouterr().err


def test_bad_data_is_refused_as_in_a_training(frames: Path, tmp_path: Path) -> None:
    (tmp_path / "test.xyz").write_text("")
    with pytest.raises(InputError, match=r"test\.xyz"):
        rows_of(recipe_of(frames, data__test=[{"path": str(tmp_path / "test.xyz")}]))


def test_it_starts_from_a_checkpoint_too(frames: Path, trained_run: Any) -> None:
    source = trained_run.paths["run"]
    rows = rows_of(recipe_of(frames, train__init_from=str(source), train__stages=[{"epochs": 0}]))
    assert told(rows, "steps in all") == [("0", "")]
