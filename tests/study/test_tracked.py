"""A test of several potentials is one run per potential, with what is known of its training."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from esen.errors import InputError
from esen.study.tracked import git_tags, open_test, run_tags
from esen.study.train import TrainingResult
from esen.train.run_files import kept_tracking


def runs_of(uri: str, experiment: str, command: str, folder: Path) -> dict[str, Any]:
    """Runs of a command into a folder, by name; the store is that of all tests."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    number = client.get_experiment_by_name(experiment).experiment_id
    found = client.search_runs([number], f"tags.command = '{command}' AND tags.folder = '{folder}'")
    return {run.info.run_name: run for run in found}


def test_each_potential_has_a_run_beside_its_training(
    trained_run: TrainingResult, mlflow_uri: str, tmp_path: Path
) -> None:
    folder, table = trained_run.paths["run"], tmp_path / "table.csv"
    table.write_text("a")
    known = kept_tracking(folder)
    assert (known["uri"], known["experiment"], known["name"]) == (mlflow_uri, "trained", "run")
    with open_test("mae", [str(folder), "emt"], tmp_path, device="cpu") as tracker:
        tracker.params({"group_by": None})
        tracker.of("run").metrics({"mae/x": 1.0}, 0)
        tracker.of("emt").metrics({"mae/x": 2.0}, 0)
        tracker.artifact(table)
    runs = runs_of(mlflow_uri, "trained", "mae", tmp_path)
    assert set(runs) == {"mae run", "mae emt"}
    ours, other = runs["mae run"].data, runs["mae emt"].data
    assert (ours.metrics["mae/x"], other.metrics["mae/x"]) == (1.0, 2.0)
    training = runs_of(mlflow_uri, "trained", "train", folder)["run"]
    assert ours.params == training.data.params | {"group_by": "None"}
    assert ours.tags["training_run"] == training.info.run_id == known["run_id"]
    assert (ours.tags["variant"], training.data.tags["variant"]) == ("run", "run")
    assert other.params == {"group_by": "None"}
    assert other.tags["variant"] == "emt"
    assert "training_run" not in other.tags
    assert "mlflow.parentRunId" not in ours.tags
    assert training.data.params["parameters"].isdecimal()
    assert len(training.data.tags["data"]) == 32
    for run in runs.values():
        assert run.info.status == "FINISHED"
        assert (Path(run.info.artifact_uri.removeprefix("file://")) / "table.csv").exists()
    assert known["run_id"] not in tracker.links["tracked run"]
    assert tracker.links["MLflow"] == f"mlflow ui --backend-store-uri {mlflow_uri}"


def test_a_wrong_call_leaves_no_run(trained_run: TrainingResult, mlflow_uri: str, tmp_path: Path) -> None:
    folder = str(trained_run.paths["run"])
    with pytest.raises(InputError), open_test("relax", [folder], tmp_path, device="cpu"):
        raise InputError("no such file")
    assert runs_of(mlflow_uri, "trained", "relax", tmp_path) == {}


def test_a_folder_of_a_run_cannot_send_results_to_a_server(
    trained_run: TrainingResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    given = tmp_path / "given"
    shutil.copytree(trained_run.paths["run"], given)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    for uri in ("http://127.0.0.1:9", f"sqlite:///{tmp_path / 'elsewhere.db'}"):
        (given / "tracking.json").write_text(json.dumps(kept_tracking(given) | {"uri": uri}))
        with open_test("mae", [str(given)], tmp_path, device="cpu") as tracker:
            tracker.params({"frames": 1})
        assert tracker.links["MLflow"].endswith(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert caplog.text.count("MLFLOW_TRACKING_URI") == 1
    assert not (tmp_path / "elsewhere.db").exists()


def test_tags_name_machine_and_commit(tmp_path: Path) -> None:
    tags = run_tags("train", tmp_path, "cpu")
    assert {key for key, value in tags.items() if not value} == set()
    assert tags["device"] == "cpu"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("a: 1")
    assert git_tags(recipe) == {}
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "recipe.yaml"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], check=True)
    commit = git_tags(recipe)["mlflow.source.git.commit"]
    assert len(commit) == 40
    recipe.write_text("a: 2")
    assert git_tags(recipe) == {"mlflow.source.git.commit": commit, "mlflow.source.git.dirty": "True"}
