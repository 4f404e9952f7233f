"""The tracked run of a study, and those of its cells beneath it."""

import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from esen.files import write_json
from esen.recipe.study import load_study
from esen.study.ablation.cells import Cell, CommandLine, Record
from esen.study.ablation.run import StudyResult, run_study
from esen.study.ablation.tracking import roll_up
from esen.study.compare.comparison import Cell as Compared
from esen.study.compare.comparison import Comparison, Heading, Line
from esen.track import StudyRun, make_tracker
from esen.train.run_files import kept_tracking
from tests.study.ablation.small import records, result_of

BASE = """
extends: quickstart
tracking: {{enabled: {enabled}, uri: "{uri}", experiment: {experiment}}}
"""
STUDY = """
base: base.yaml
variants:
  default: {}
  bad: {train.optimizer.learning_rate: 1}
seeds: [0, 1]
tests: {mae: {}}
"""
LINES = {("", "mae"): CommandLine("mae")}


@dataclass
class QueueOfThisProcess:
    """Computes cells in this process, so that a test takes no processes."""

    runner: Any
    slots: Any
    watcher: Any
    environment: Mapping[str, str]
    retry: bool

    def run(self, cells: Sequence[Cell], known: Mapping[Cell, Record], stop: object) -> None:
        with pytest.MonkeyPatch.context() as patch:
            for key, value in self.environment.items():
                patch.setenv(key, value)
            for cell in cells:
                if cell.is_training or records(Path(cell.potential)).get(".") == "done":
                    cell.run(self.runner, retry=self.retry)


@pytest.fixture(autouse=True)
def _one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esen.study.ablation.run.LocalQueue", QueueOfThisProcess)


def run(folder: Path, uri: str, experiment: str, *, enabled: bool = True, study: str = STUDY) -> StudyResult:
    """Compute a study whose commands track a run as those of esen do."""

    def runner(arguments: Sequence[str]) -> int:
        output = Path(arguments[arguments.index("--output") + 1])
        own = (
            experiment if arguments[0] == "train" else None
        )  # a test knows the place from its training alone
        with make_tracker(enabled, uri if own else None, own, "own name") as tracker:
            tracker.params({"command": arguments[0]})
            tracker.tags({"variant": "own", "mine": "kept"})
            if any("learning_rate=1" in one for one in arguments):
                return 2
            with tracker.child("stage") as stage:
                stage.params({"stage": 1})
        write_json(output / "result.json", result_of(arguments[0], 2.0 + ("seed-1" in str(output))))
        return 0

    (folder / "base.yaml").write_text(
        BASE.format(enabled=str(enabled).lower(), uri=uri, experiment=experiment), encoding="utf-8"
    )
    (folder / "tracked.yaml").write_text(study, encoding="utf-8")
    loaded = load_study(folder / "tracked.yaml")
    return run_study(
        loaded, folder / "out", LINES, runner=runner, command=["esen", "ablate"], chosen=lambda _: True
    )


def runs_of(uri: str, experiment: str) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    number = client.get_experiment_by_name(experiment).experiment_id
    return list(client.search_runs([number], order_by=["attributes.start_time"]))


def test_cells_are_children_of_the_study_which_has_means_over_seeds(mlflow_uri: str, tmp_path: Path) -> None:
    result = run(tmp_path, mlflow_uri, "whole-study")
    runs = {
        one.info.run_name: one for one in runs_of(mlflow_uri, "whole-study") if one.info.run_name != "stage"
    }
    stages = [one for one in runs_of(mlflow_uri, "whole-study") if one.info.run_name == "stage"]
    good = [f"default seed {seed} {test}" for seed in (0, 1) for test in ("train", "mae")]
    assert set(runs) == {"tracked", *good, "bad seed 0 train", "bad seed 1 train"}
    parent = runs["tracked"]
    for name, one in runs.items():
        if one is parent:
            continue
        variant, _, seed, test = name.split()
        tags = one.data.tags
        assert tags["mlflow.parentRunId"] == parent.info.run_id
        found = [tags[key] for key in ("study", "variant", "seed", "test", "mine")]
        assert found == ["tracked", variant, seed, test, "kept"]
        assert "system" not in tags
    above = {stage.data.tags["mlflow.parentRunId"] for stage in stages}
    assert above == {runs[name].info.run_id for name in good}
    assert all("variant" not in stage.data.tags for stage in stages)
    assert parent.info.status == "FINISHED"
    assert {key: parent.data.tags[key] for key in ("study", "command", "failures", "cells")} == {
        "study": "tracked",
        "command": "ablate",
        "failures": "2",
        "cells": "6 of 8",
    }
    assert parent.data.params["variants.bad.train.optimizer.learning_rate"] == "1"
    assert parent.data.params["seeds"] == "0, 1"
    assert result.comparison is not None
    kept = {key: value for key, value in parent.data.metrics.items() if not key.startswith("system/")}
    assert kept == roll_up(result.comparison)
    assert kept["variants/energy_mae_meV_per_atom/default"] == 2.5
    assert kept["variants/energy_mae_meV_per_atom/default.sd"] == pytest.approx(0.5**0.5)
    assert kept["variants/energy_mae_meV_per_atom/default.n"] == 2
    assert parent.info.run_id in result.links["tracked run"]
    artifacts = Path(parent.info.artifact_uri.removeprefix("file://"))
    assert {str(path.relative_to(artifacts)) for path in artifacts.rglob("*") if path.is_file()} >= {
        *("study.yaml", "study.json", "report.html"),
        *("comparison/comparison.json", "comparison/comparison.csv", "comparison/comparison.md"),
    }


def test_a_second_call_continues_the_run_of_the_study(mlflow_uri: str, tmp_path: Path) -> None:
    one_seed = STUDY.replace("[0, 1]", "[0]")
    run(tmp_path, mlflow_uri, "resumed-study", study=one_seed)
    first = kept_tracking(tmp_path / "out")
    assert first["uri"] == mlflow_uri
    run(tmp_path, mlflow_uri, "resumed-study")
    assert kept_tracking(tmp_path / "out") == first
    runs = runs_of(mlflow_uri, "resumed-study")
    (parent,) = [one for one in runs if "mlflow.parentRunId" not in one.data.tags]
    assert parent.info.run_id == first["run_id"]
    assert parent.data.metrics["variants/energy_mae_meV_per_atom/default.n"] == 2
    assert (parent.data.params["seeds"], parent.data.tags["resumed.seeds"]) == ("0", "0, 1")
    children = [one.info.run_name for one in runs if one.data.tags.get("study") and one is not parent]
    assert sorted(children) == sorted(set(children))
    assert len(children) == 6


def test_nothing_is_tracked_if_the_recipe_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(tmp_path, f"sqlite:///{tmp_path}/none.db", "off", enabled=False)
    assert result.links == {}
    assert len(result.records) == 6
    assert not (tmp_path / "out" / "tracking.json").exists()
    assert not list(tmp_path.glob("*.db"))


@pytest.mark.parametrize("reason", ["hangs", "refuses"])
def test_a_store_that_does_not_answer_costs_a_bounded_time(
    reason: str, mlflow_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    answered = threading.Event()

    def never(*_: object) -> None:
        if reason == "hangs":
            answered.wait(30)
        raise ConnectionError("refused")

    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", never)
    monkeypatch.setattr("esen.study.ablation.tracking._LONGEST_WAIT", 0.3)
    monkeypatch.setattr("esen.track.mlflow_tracker.CLOSE_SECONDS", 0.3)
    begun = time.monotonic()
    result = run(tmp_path, mlflow_uri, "silent-study")
    assert time.monotonic() - begun < 20
    answered.set()
    assert sorted(record.state for record in result.records.values()) == ["done"] * 4 + ["failed"] * 2
    assert result.comparison is not None
    assert not (tmp_path / "out" / "tracking.json").exists()


def test_no_secret_is_stored_or_handed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    handed: list[str] = []
    monkeypatch.setattr("esen.study.ablation.tracking._LONGEST_WAIT", 0.1)
    monkeypatch.setattr("esen.track.mlflow_tracker.CLOSE_SECONDS", 0.1)
    monkeypatch.setattr(QueueOfThisProcess, "run", lambda self, *_: handed.extend(self.environment.values()))
    run(tmp_path, "http://me:s3cret@127.0.0.1:9/", "secret-study")
    assert "MLFLOW_TRACKING_URI" in caplog.text
    assert "s3cret" not in caplog.text
    (text,) = handed
    assert json.loads(text)["uri"] == "http://127.0.0.1:9/"
    assert not [p for p in (tmp_path / "out").rglob("*") if p.is_file() and b"s3cret" in p.read_bytes()]


def test_a_run_elsewhere_has_the_tags_but_no_parent(
    mlflow_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = StudyRun("1" * 32, mlflow_uri, "there", "direct seed 0 mae", {"study": "s", "variant": "direct"})
    for key, value in study.variables.items():
        monkeypatch.setenv(key, value)
    with make_tracker(True, mlflow_uri, "elsewhere") as tracker, tracker.sibling("mae emt") as other:
        tracker.params({"a": 1})
        other.tags({"variant": "emt"})
        other.params({"a": 1})
    runs = {one.info.run_name: one.data.tags for one in runs_of(mlflow_uri, "elsewhere")}
    assert {name: tags["variant"] for name, tags in runs.items()} == {
        "direct seed 0 mae": "direct",
        "mae emt": "emt",
    }
    assert all(tags["study"] == "s" and "mlflow.parentRunId" not in tags for tags in runs.values())


def test_a_damaged_variable_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for text in ("{", "[1]", '{"nonsense": 1}'):
        monkeypatch.setenv("ESEN_STUDY_RUN", text)
        assert StudyRun.current() is None
    assert caplog.text.count("ESEN_STUDY_RUN") == 3
    assert os.environ["ESEN_STUDY_RUN"] == text


def test_keys_of_the_roll_up_are_legal_and_distinct() -> None:
    names = ["drift [a b]", "drift [a-b]", "x" * 300, "x" * 299 + "y"]
    headings = [Heading(name, name, "meV/Å³", "less", "", 1) for name in names]
    cells = {name: Compared({0: float(number)}, {}) for number, name in enumerate(names)}
    lines = [Line("a/b", variant, (0,), False, cells) for variant in ("lmax=2", "LMAX+2", "../../..")]
    found = roll_up(Comparison(headings, names, lines, {}, [], []))
    assert len({key.casefold() for key in found}) == 2 * len(names) * len(lines)
    assert all(len(key) <= 250 and ".." not in key.split("/") for key in found)
    assert sorted(value for key, value in found.items() if not key.endswith(".n")) == sorted(
        [0.0, 1, 2, 3] * 3
    )
