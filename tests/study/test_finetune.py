"""`esen train` from a checkpoint: from the recipe's path to the table of errors before and after."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from esen.errors import InputError
from esen.graph.batch import make_graph
from esen.models.checkpoint import load_potential, read_checkpoint, save_checkpoint
from esen.recipe import Recipe
from esen.study.train import TrainingResult, complete_recipe, run_training
from tests.train.small import crystals, molecule, recipe_of, write_frames


@pytest.fixture(autouse=True)
def _quick_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Figure, "savefig", lambda _, file, **__: file.write(b"\x89PNG"))


def tuning(folder: Path, source: Path, model: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    frames = write_frames(folder / "new.xyz", crystals(8, seed=4))
    whole = recipe_of(frames, train__init_from=str(source), **changes)
    return Recipe.model_validate(whole.model_dump(mode="json", exclude_unset=True) | {"model": model or {}})


@pytest.fixture(scope="module")
def run(trained_run: TrainingResult) -> Path:
    return trained_run.paths["run"]


def test_errors_before_and_after_are_shown(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = run_training(tuning(tmp_path, run), tmp_path / "out", device="cpu")
    shown = capfd.readouterr().err
    (line,) = [
        line for line in shown.splitlines() if "forces" in line and "meV/Å" in line and "F" not in line
    ]
    before, after = (float(word) for word in line.split()[1:3])
    rows = (tmp_path / "out" / "metrics.csv").read_text().splitlines()
    assert len(rows) == 4  # title, before the first step, two epochs
    assert f"{before:.4g}" == f"{float(rows[1].split(',')[4]):.4g}"
    best = read_checkpoint(result.paths["weights"]).metrics
    assert f"{after:.4g}" == f"{best['validation/forces_mae']:.4g}"


def test_no_epochs_only_evaluate(run: Path, tmp_path: Path) -> None:
    result = run_training(
        tuning(tmp_path, run, train__stages=[{"epochs": 0}]), tmp_path / "out", device="cpu"
    )
    assert result.summary[0]["validation MAE"] == "all"
    graph = make_graph(list(crystals(2)), 3.5)
    ours, theirs = (load_potential(path) for path in (result.paths["weights"], run / "best.safetensors"))
    assert torch.equal(ours(graph).energy, theirs(graph).energy)
    assert torch.equal(ours(graph).forces, theirs(graph).forces)


def test_the_licence_of_imported_weights_lies_beside_the_new_ones(run: Path, tmp_path: Path) -> None:
    imported = tmp_path / "imported"
    imported.mkdir()
    origin = {"file": "x.pt", "licence": {"source": "LICENSE", "text": "Do no evil\n"}}
    checkpoint = read_checkpoint(run / "best.safetensors")
    save_checkpoint(imported / "best.safetensors", replace(checkpoint, origin=origin))
    run_training(tuning(tmp_path, imported, train__stages=[{"epochs": 0}]), tmp_path / "out", device="cpu")
    assert (tmp_path / "out" / "LICENSE").read_text() == "Do no evil\n"
    assert read_checkpoint(tmp_path / "out" / "best.safetensors").origin["file"] == "x.pt"


def test_a_recipe_that_is_resumed_is_completed_from_the_run(run: Path, tmp_path: Path) -> None:
    recipe = tuning(tmp_path, run)
    run_training(recipe, tmp_path / "out", device="cpu")
    resumed = read_checkpoint(tmp_path / "out" / "last.safetensors")
    completed, initial = complete_recipe(recipe, resumed, pytest.fail)
    assert initial is None
    assert completed.model.cutoff == 3.5
    again = run_training(recipe, tmp_path / "out", resume=True, device="cpu")
    assert again.summary


def test_what_cannot_be_is_found_before_anything_is_written(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        run_training(tuning(tmp_path, tmp_path / "nowhere"), tmp_path / "out", device="cpu")
    with pytest.raises(InputError, match=r"train\.freeze: .*'specis'"):
        run_training(tuning(tmp_path, run, train__freeze=["specis"]), tmp_path / "out", device="cpu")
    recipe = tuning(tmp_path, run)
    write_frames(tmp_path / "new.xyz", [*crystals(6), *[molecule(26, 8)] * 3])
    with pytest.raises(InputError, match=r"\bFe\b"):
        run_training(recipe, tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()


def test_without_a_source_nothing_is_completed(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path / "a.xyz")
    assert complete_recipe(recipe, None, pytest.fail) == (recipe, None)


def test_advice_on_the_recipe_is_told_before_the_training(tmp_path: Path) -> None:
    told: list[str] = []
    frames = write_frames(tmp_path / "new.xyz", crystals(2, seed=4))
    complete_recipe(recipe_of(frames, model__dens=True), None, told.append)
    assert [line.split(",")[0] for line in told] == ["warning: model.dens is true"]
