"""`esen train` from recipe to table: what is written, what is tracked, and what is said when it is stopped."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

import esen.study.train
from esen.errors import InputError
from esen.files import LOCK, Interrupted, locked
from esen.models.checkpoint import read_checkpoint
from esen.models.cost import parameter_count
from esen.recipe import Recipe, load_recipe
from esen.recipe.load import flatten
from esen.study.train import TrainingResult, run_training
from esen.train.progress import TrainDisplay
from esen.train.run_files import kept_run_id, read_metrics
from tests.train.small import crystals, molecule, press_ctrl_c, recipe_of, write_frames

FILES = {
    "best.safetensors",
    "last.safetensors",
    "mae.csv",
    "mae.json",
    "mae.png",
    "metrics.csv",
    "metrics.jsonl",
    "recipe.yaml",
    "report.html",
    "result.json",
    "summary.json",
    "training-frames.npz",
    "training.png",
}


@pytest.fixture(autouse=True)
def _quick_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than the trainings. `trained_run` is made before, with its figures."""
    monkeypatch.setattr(Figure, "savefig", lambda _, file, **__: file.write(b"\x89PNG"))


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """Untracked."""
    return recipe_of(write_frames(tmp_path / "train.xyz", crystals(9)))


def at_step(number: int, call: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Call back when so many steps of the next training are done."""
    real, done = TrainDisplay.step, []

    def step(self: TrainDisplay, frames: int, loss: float) -> None:
        done.append(loss)
        if len(done) == number:
            call()
        real(self, frames, loss)

    monkeypatch.setattr(TrainDisplay, "step", step)


def names(folder: Path) -> set[str]:
    """Files in the folder of a run but for that of its lock."""
    return {path.name for path in folder.iterdir()} - {LOCK}


def stored_run(uri: str, folder: Path) -> Any:
    from mlflow import MlflowClient

    run_id = kept_run_id(folder)
    assert run_id is not None
    return MlflowClient(tracking_uri=uri).get_run(run_id)


def steps_of(uri: str, folder: Path, metric: str) -> list[int]:
    from mlflow import MlflowClient

    history = MlflowClient(tracking_uri=uri).get_metric_history(kept_run_id(folder), metric)
    return [point.step for point in history]


def artifacts(run: Any) -> set[str]:
    return {path.name for path in Path(run.info.artifact_uri.removeprefix("file://")).iterdir()}


def test_files_table_and_paths(trained_run: TrainingResult) -> None:
    folder = trained_run.paths["run"]
    assert names(folder) == FILES | {"tracking.json"}
    assert all(path.exists() for path in trained_run.paths.values())
    overall = trained_run.summary[0]
    assert (overall["test MAE"], overall["frames"]) == ("all", 3)
    assert {row["test MAE"] for row in trained_run.summary} == {"all", "O", "Mg"}
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["steps"] == 6
    assert summary["seconds"] > 0
    assert summary["test"]["overall"]["forces"]["mae"] == overall["forces (meV/Å)"]
    assert json.loads((folder / "mae.json").read_text()) == summary["test"]
    assert all((folder / name).stat().st_size > 10_000 for name in ("training.png", "mae.png"))


def test_result_in_the_schema_of_all_commands(trained_run: TrainingResult) -> None:
    folder = trained_run.paths["run"]
    result = json.loads((folder / "result.json").read_text())
    summary = json.loads((folder / "summary.json").read_text())
    [row], units = result["rows"], {column["name"]: column["unit"] for column in result["columns"]}
    assert result["command"] == "train"
    assert row["test_energy_mae"] == summary["test"]["overall"]["energy"]["mae"]
    assert (units["test_energy_mae"], units["test_forces_mae"]) == ("meV/atom", "meV/Å")
    assert row["steps"] == 6
    assert row["ms_per_step"] == pytest.approx(1000 * summary["seconds"] / 6)
    assert row["parameters"] == parameter_count(load_recipe(folder / "recipe.yaml").model)
    [potential] = result["potentials"].values()
    assert len(potential["sha256"]) == 64


def test_the_tracked_run(trained_run: TrainingResult, mlflow_uri: str) -> None:
    folder = trained_run.paths["run"]
    run = stored_run(mlflow_uri, folder)
    assert (run.info.status, run.info.run_name) == ("FINISHED", folder.name)
    recipe = load_recipe(folder / "recipe.yaml")
    count = str(parameter_count(recipe.model))
    assert run.data.params == {key: str(value) for key, value in flatten(recipe).items()} | {
        "parameters": count
    }
    per_step = {f"train/{name}" for name in ("loss", "energy_loss", "forces_loss", "stress_loss")}
    per_step |= {"train/learning_rate", "train/gradient_norm", "epoch"}
    per_epoch = {f"validation/{name}" for name in ("loss", "energy_mae", "forces_mae", "stress_mae")}
    units = {"energy": "meV_per_atom", "forces": "meV_per_A", "stress": "meV_per_A3"}
    at_end = {f"test/{key}_{kind}_{unit}" for key, unit in units.items() for kind in ("mae", "rmse")}
    ours = {key for key in run.data.metrics if not key.startswith("system/")}
    assert ours == per_step | per_epoch | at_end
    assert any(key.startswith("system/") for key in run.data.metrics)
    assert steps_of(mlflow_uri, folder, "train/loss") == [1, 2, 3, 4, 5, 6]
    assert steps_of(mlflow_uri, folder, "validation/forces_mae") == [3, 6]
    assert steps_of(mlflow_uri, folder, "test/forces_mae_meV_per_A") == [0]
    assert run.data.metrics["test/forces_mae_meV_per_A"] == trained_run.summary[0]["forces (meV/Å)"]
    assert artifacts(run) == FILES - {"metrics.jsonl", "training-frames.npz"}


def test_a_finished_run_is_evaluated_again(
    trained_run: TrainingResult, mlflow_uri: str, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = trained_run.paths["run"]
    weights, run_id = (folder / "last.safetensors").read_bytes(), kept_run_id(folder)
    (folder / "mae.png").unlink()
    recipe = load_recipe(folder / "recipe.yaml")
    again = run_training(recipe, folder, resume=True, device="cpu")
    assert again.summary == trained_run.summary
    assert (folder / "last.safetensors").read_bytes() == weights
    assert (folder / "mae.png").exists()
    assert kept_run_id(folder) == run_id
    assert stored_run(mlflow_uri, folder).info.status == "FINISHED"
    out, err = capfd.readouterr()
    assert out == ""
    assert "the training is finished, at step 6; only the evaluation is done again" in err


def test_ctrl_c_marks_the_run_and_resuming_continues_it(
    recipe: Recipe, mlflow_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = recipe.tracking.model_copy(update={"enabled": True, "uri": mlflow_uri})
    recipe, folder = recipe.model_copy(update={"tracking": tracking}), tmp_path / "my run"
    at_step(2, press_ctrl_c, monkeypatch)
    with pytest.raises(Interrupted) as stopped:
        run_training(recipe, folder, device="cpu")
    quoted = f"'{folder / 'recipe.yaml'}' --output '{folder}'"
    assert str(stopped.value) == (
        f"interrupted at step 2, all is saved; resume with: esen train {quoted} --device cpu --resume"
    )
    killed = stored_run(mlflow_uri, folder)
    assert killed.info.status == "KILLED"
    assert "recipe.yaml" in artifacts(killed)
    monkeypatch.undo()
    run_training(load_recipe(folder / "recipe.yaml"), folder, resume=True, device="cpu")
    run = stored_run(mlflow_uri, folder)
    assert (run.info.run_id, run.info.status) == (killed.info.run_id, "FINISHED")
    assert run.data.params == killed.data.params
    assert steps_of(mlflow_uri, folder, "train/loss") == [1, 2, 3, 4, 5, 6]
    assert artifacts(run) == FILES - {"metrics.jsonl", "training-frames.npz"}


def test_each_stage_is_a_run_beneath_that_of_the_training(
    recipe: Recipe, mlflow_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    stages = [{"epochs": 1, "forces": {"kind": "direct"}, "dens": {"probability": 1.0}}, {"epochs": 1}]
    tracking = {"enabled": True, "uri": mlflow_uri, "experiment": "stages"}
    paper = recipe_of(tmp_path / "train.xyz", model__lmax=2, train__stages=stages, tracking=tracking)
    folder = tmp_path / "run"
    at_step(4, press_ctrl_c, monkeypatch)
    with pytest.raises(Interrupted):
        run_training(paper, folder, device="cpu")
    monkeypatch.undo()
    result = run_training(paper, folder, resume=True, device="cpu")
    client, parent = MlflowClient(tracking_uri=mlflow_uri), kept_run_id(folder)
    found = client.search_runs([stored_run(mlflow_uri, folder).info.experiment_id])
    children = {r.info.run_name: r for r in found if r.data.tags.get("mlflow.parentRunId") == parent}
    assert len(found) == 3
    assert set(children) == {"stage 1: direct, DeNS", "stage 2: conservative"}
    for name, steps in (("stage 1: direct, DeNS", [1, 2, 3]), ("stage 2: conservative", [4, 5, 6])):
        child = children[name]
        history = client.get_metric_history(child.info.run_id, "train/loss")
        assert [point.step for point in history] == steps
        assert child.info.status == "FINISHED"
        assert child.data.params["model.forces.kind"] == name.split()[2].strip(",")
        assert not any(key.startswith("system/") for key in child.data.metrics)
    assert "train/denoising_loss" in children["stage 1: direct, DeNS"].data.metrics
    assert steps_of(mlflow_uri, folder, "train/loss") == [1, 2, 3, 4, 5, 6]
    assert result.paths["weights of stage1"].name == "best-stage1.safetensors"


def test_a_tracker_that_fails_stops_nothing(
    recipe: Recipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracking = recipe.tracking.model_copy(update={"enabled": True, "uri": "sqlite:////nonexistent/x.db"})
    result = run_training(recipe.model_copy(update={"tracking": tracking}), tmp_path / "run", device="cpu")
    assert names(tmp_path / "run") == FILES
    assert result.summary[0]["frames"] == 2
    assert "the run goes on without it" in caplog.text


def test_without_test_frames_the_validation_frames_are_evaluated(recipe: Recipe, tmp_path: Path) -> None:
    result = run_training(recipe, tmp_path / "run", device="cpu")
    assert result.summary[0]["validation MAE"] == "all"
    rows = [row for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if "validation/loss" in row]
    best = min(rows, key=lambda row: float(row["validation/loss"]))
    assert result.summary[0]["forces (meV/Å)"] == pytest.approx(best["validation/forces_mae"], rel=1e-5)


@pytest.mark.parametrize("only", ["energy", "forces"])
def test_training_on_one_label_alone(only: str, tmp_path: Path) -> None:
    """Metrics, tables and best weights are those of the label that is there; test frames have no other either."""
    others = {name: None for name in ("energy", "forces", "stress") if name != only}
    paths = {
        name: str(write_frames(tmp_path / f"{name}.xyz", [replace(s, **others) for s in frames]))
        for name, frames in (("train", crystals(9)), ("test", crystals(3, seed=7)))
    }
    recipe = recipe_of(
        Path(paths["train"]),
        train__loss=dict.fromkeys(others, 0),
        train__stages=[{"epochs": 3}],
        data__test=[{"path": paths["test"]}],
    )
    result = run_training(recipe, tmp_path / "run", device="cpu")
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    validations = [row for row in rows if "validation/loss" in row]
    assert {key for row in validations for key in row} == {
        "step", "epoch", "validation/loss", f"validation/{only}_mae"
    }  # fmt: skip
    assert {key for row in rows if "train/loss" in row for key in row} == {
        "step", "epoch", "train/loss", f"train/{only}_loss", "train/learning_rate", "train/gradient_norm"
    }  # fmt: skip
    best = read_checkpoint(tmp_path / "run" / "best.safetensors")
    assert best.metrics["validation/loss"] == min(row["validation/loss"] for row in validations)
    assert bool(best.tensors["weights/references"].any()) == (only == "energy")
    errors = json.loads((tmp_path / "run" / "summary.json").read_text())["test"]["overall"]
    assert {name for name, values in errors.items() if values["mae"] is not None} == {only}
    shown = {key for key, value in result.summary[0].items() if isinstance(value, float)}
    assert [key.split()[0] for key in shown] == [only]


def test_test_frames_without_any_label_are_refused(recipe: Recipe, tmp_path: Path) -> None:
    bare = [replace(s, energy=None, forces=None, stress=None) for s in crystals(2)]
    path = write_frames(tmp_path / "test.xyz", bare)
    given = recipe_of(tmp_path / "train.xyz", data__test=[{"path": str(path)}])
    with pytest.raises(InputError, match=r"data\.test"):
        run_training(given, tmp_path / "run", device="cpu")


def test_a_recipe_without_evaluation(recipe: Recipe, tmp_path: Path) -> None:
    evaluate = recipe.evaluate.model_copy(update={"mae": None})
    result = run_training(recipe.model_copy(update={"evaluate": evaluate}), tmp_path / "run", device="cpu")
    assert result.summary == []
    assert names(tmp_path / "run") == {name for name in FILES if not name.startswith("mae.")}


def test_test_frames_of_an_unknown_element_are_left_out(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_frames(tmp_path / "test.xyz", [*crystals(2, seed=5), molecule(8, 26)])
    train = write_frames(tmp_path / "train.xyz", crystals(9))
    recipe = recipe_of(train, data__test=[{"path": str(tmp_path / "test.xyz")}])
    result = run_training(recipe, tmp_path / "run", device="cpu")
    assert result.summary[0]["frames"] == 2
    assert "1 of 3 test frames are left out: they hold Fe" in capfd.readouterr().err


def test_what_is_wrong_is_found_before_anything_is_written(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "test.xyz").write_text("")
    data = recipe_of(tmp_path / "train.xyz", data__test=[{"path": str(tmp_path / "test.xyz")}]).data
    with pytest.raises(InputError, match=r"test\.xyz: "):
        run_training(recipe.model_copy(update={"data": data}), tmp_path / "run", device="cpu")
    with pytest.raises(InputError, match="'cuda:99'"):
        run_training(recipe, tmp_path / "run", device="cuda:99")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_in_use_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with locked(tmp_path / "run"):
        for resume in (False, True):
            with pytest.raises(InputError, match="another process"):
                run_training(recipe, tmp_path / "run", resume=resume, device="cpu")
    assert not names(tmp_path / "run")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_reading(
    number: int, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr(esen.study.train, "load_training_data", read)
    with pytest.raises(Interrupted, match=r"^interrupted$"):
        run_training(recipe, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_signal_in_the_evaluation(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def evaluate(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(esen.study.train, "evaluate_with_progress", evaluate)
    with pytest.raises(Interrupted, match=r"training is finished.*esen train"):
        run_training(recipe, tmp_path / "run", device="cpu")
    monkeypatch.undo()
    assert run_training(recipe, tmp_path / "run", resume=True, device="cpu").summary[0]["frames"] == 2


def test_a_second_ctrl_c_stops_at_once(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice() -> None:
        press_ctrl_c()
        press_ctrl_c()

    at_step(5, twice, monkeypatch)
    with pytest.raises(Interrupted, match=r"^interrupted.*esen train"):
        run_training(recipe, tmp_path / "run", device="cpu")
    monkeypatch.undo()
    run_training(recipe, tmp_path / "run", resume=True, device="cpu")
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [row["step"] for row in rows if "train/loss" in row] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("step", [1, 5])
def test_a_full_disk_says_what_to_do(
    step: int, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    at_step(step, lambda: monkeypatch.setattr("os.fsync", full), monkeypatch)
    with pytest.raises(InputError, match=r"No space left.*esen train") as error:
        run_training(recipe, tmp_path / "run", device="cpu")
    assert "\n" not in str(error.value)
    monkeypatch.undo()
    run_training(recipe, tmp_path / "run", resume=True, device="cpu")
    assert names(tmp_path / "run") == FILES


def test_a_full_disk_in_the_evaluation(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("esen.study.mae.parity_plot", full)
    with pytest.raises(InputError, match=r"training is finished.*esen train"):
        run_training(recipe, tmp_path / "run", device="cpu")


def test_an_error_of_the_program_is_not_taken_for_the_user(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("a driver of something")

    monkeypatch.setattr(esen.study.train, "fit", broken)
    with pytest.raises(OSError, match="a driver of something"):
        run_training(recipe, tmp_path / "run", device="cpu")


def test_weights_that_were_removed_are_found_again(recipe: Recipe, tmp_path: Path) -> None:
    """With no better epoch left, those to go on from are evaluated."""
    run_training(recipe, tmp_path / "run", device="cpu")
    (tmp_path / "run" / "best.safetensors").unlink()
    result = run_training(recipe, tmp_path / "run", resume=True, device="cpu")
    assert result.paths["weights"].name == "last.safetensors"
