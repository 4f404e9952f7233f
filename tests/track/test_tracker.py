"""The store holds what a run reported; a store that fails is no error of the run."""

import math
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from esen.errors import InputError
from esen.track import NullTracker, make_tracker
from esen.track.address import absolute_uri
from esen.track.mlflow_tracker import flatten


def stored_run(uri: str, run_id: str | None) -> Any:
    from mlflow import MlflowClient

    assert run_id is not None
    return MlflowClient(tracking_uri=uri).get_run(run_id)


def test_everything_a_run_reports_is_stored(mlflow_uri: str, tmp_path: Path) -> None:
    report = tmp_path / "report.txt"
    report.write_text("0.5 meV/atom")
    with make_tracker(True, mlflow_uri, "kept", "first light") as tracker:
        tracker.params({"model": {"lmax": 2}, "long": "x" * 7000, **{f"p{i}": i for i in range(150)}})
        for step in range(1200):
            tracker.metrics({"train/loss": 1 / (1 + step)}, step)
        tracker.metrics({"bad": math.nan, "worse": -math.inf, "of Mg (hcp)": 1.0}, 3)
        tracker.artifact(report, "tables")
        tracker.tags({"note": "hello"})
    run = stored_run(mlflow_uri, tracker.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "first light"
    assert run.data.params["model.lmax"] == "2"
    assert run.data.params["p149"] == "149"
    assert len(run.data.params["long"]) == 5000
    assert run.data.metrics["train/loss"] == pytest.approx(1 / 1200)
    assert math.isnan(run.data.metrics["bad"])
    assert run.data.metrics["worse"] < -1e300
    assert run.data.metrics["of Mg _hcp_"] == 1.0
    assert "system/cpu_utilization_percentage" in run.data.metrics
    assert run.data.tags["note"] == "hello"
    kept = Path(run.info.artifact_uri.removeprefix("file://")) / "tables" / "report.txt"
    assert kept.read_text() == "0.5 meV/atom"
    assert kept.is_relative_to(Path(mlflow_uri.removeprefix("sqlite:///")).parent)


def test_nothing_is_said_when_all_is_well(mlflow_uri: str, capfd: pytest.CaptureFixture[str]) -> None:
    with make_tracker(True, mlflow_uri, "quiet") as tracker:
        tracker.metrics({"loss": 1.0}, 0)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED"), (SystemExit, "FAILED")]
)
def test_an_interrupted_run_is_marked(mlflow_uri: str, error: type[BaseException], status: str) -> None:
    with pytest.raises(error), make_tracker(True, mlflow_uri, "marked") as tracker:
        tracker.params({"seed": 1})
        raise error("two\nlines")
    run = stored_run(mlflow_uri, tracker.run_id)
    assert run.info.status == status
    assert run.data.tags.get("error") == (f"{error.__name__}: two" if status == "FAILED" else None)


def test_a_run_is_continued(mlflow_uri: str) -> None:
    with make_tracker(True, mlflow_uri, "continued", "one") as first:
        first.params({"epochs": 1, "seed": 0})
        first.metrics({"loss": 2.0}, 1)
    with make_tracker(True, mlflow_uri, "continued", "two", first.run_id) as second:
        second.params({"epochs": 2, "seed": 0})
        second.metrics({"loss": 1.0}, 2)
    assert second.run_id == first.run_id
    run = stored_run(mlflow_uri, first.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "one"
    assert run.data.metrics["loss"] == 1.0
    assert run.data.params == {"epochs": "1", "seed": "0"}  # MLflow keeps the first value for ever
    assert run.data.tags["resumed.epochs"] == "2"


def test_an_unknown_run_to_resume_starts_a_new_one(mlflow_uri: str, caplog: pytest.LogCaptureFixture) -> None:
    with make_tracker(True, mlflow_uri, "continued", "three", "0" * 32) as tracker:
        tracker.params({"seed": 1})
    assert stored_run(mlflow_uri, tracker.run_id).info.run_name == "three"
    assert "0" * 32 in caplog.text


def test_a_file_that_is_gone_is_a_warning(
    mlflow_uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with make_tracker(True, mlflow_uri, "gone") as tracker:
        tracker.artifact(tmp_path / "nowhere.txt")
        tracker.metrics({"loss": 1.0}, 0)
    run = stored_run(mlflow_uri, tracker.run_id)
    assert (run.info.status, run.data.metrics["loss"]) == ("FINISHED", 1.0)
    assert "nowhere.txt" in caplog.text


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:9", "sqlite:////nonexistent/x.db", "file:./mlruns", "wrong:thing"]
)
def test_a_store_that_fails_costs_one_line(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    begun = time.monotonic()
    with make_tracker(True, uri) as tracker:
        for step in range(100):
            tracker.metrics({"loss": 1.0}, step)
    assert time.monotonic() - begun < 20
    assert tracker.run_id is None
    (message,) = [r.getMessage() for r in caplog.records if r.name == "esen.track"]
    assert uri.removeprefix("file:.") in message
    assert "\n" not in message
    assert not list(tmp_path.iterdir())


def test_a_store_that_is_back_gets_everything(
    mlflow_uri: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The first attempts fail, as while a server restarts, and nothing is lost."""
    from mlflow import MlflowClient

    monkeypatch.setattr("esen.track.mlflow_tracker.RETRY_SECONDS", 0.05)
    monkeypatch.setattr("esen.track.mlflow_tracker.SEND_SECONDS", 0.05)
    real, failures = MlflowClient.log_batch, 3

    def flaky(self: MlflowClient, *args: Any, **kwargs: Any) -> Any:
        nonlocal failures
        if failures > 0:
            failures -= 1
            raise ConnectionError("server restarts\nsoon")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(MlflowClient, "log_batch", flaky)
    with make_tracker(True, mlflow_uri, "flaky") as tracker:
        tracker.params({"seed": 1})
        tracker.metrics({"loss": 1.0}, 0)
        wait_until(lambda: failures == 0)
        tracker.metrics({"loss": 0.5}, 1)
    run = stored_run(mlflow_uri, tracker.run_id)
    history = MlflowClient(tracking_uri=mlflow_uri).get_metric_history(tracker.run_id, "loss")
    assert run.data.params == {"seed": "1"}
    assert [(point.step, point.value) for point in history] == [(0, 1.0), (1, 0.5)]
    assert ["server restarts" in r.getMessage() for r in caplog.records] == [True]


def test_a_store_that_hangs_costs_one_deadline(
    mlflow_uri: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from mlflow import MlflowClient

    answered = threading.Event()
    monkeypatch.setattr("esen.track.mlflow_tracker.CLOSE_SECONDS", 0.3)
    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", lambda *args: answered.wait(30))
    tracker = make_tracker(True, mlflow_uri, "hanging")
    begun = time.monotonic()
    tracker.metrics({"loss": 1.0}, 0)
    tracker.close()
    assert 0.3 <= time.monotonic() - begun < 5
    assert [record.name for record in caplog.records] == ["esen.track"]
    answered.set()


def test_a_locked_database_does_not_hold_up_the_run(mlflow_uri: str) -> None:
    other = sqlite3.connect(mlflow_uri.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    tracker = make_tracker(True, mlflow_uri, "locked")
    begun = time.perf_counter()
    for step in range(1000):
        tracker.metrics({"loss": 1.0}, step)
    assert time.perf_counter() - begun < 0.5
    other.execute("ROLLBACK")
    other.close()
    tracker.close()
    assert stored_run(mlflow_uri, tracker.run_id).data.metrics["loss"] == 1.0


def test_closing_twice_is_harmless(mlflow_uri: str) -> None:
    tracker = make_tracker(True, mlflow_uri, "twice")
    tracker.params({"seed": 1})
    tracker.close("KILLED")
    tracker.close("FINISHED")
    assert stored_run(mlflow_uri, tracker.run_id).info.status == "KILLED"
    assert not [thread for thread in threading.enumerate() if thread.name == "esen.track"]


def test_null_tracker_takes_everything_and_keeps_nothing(tmp_path: Path) -> None:
    with make_tracker(False) as tracker:
        tracker.params({"a": 1})
        tracker.metrics({"loss": 1.0}, 0)
        tracker.artifact(tmp_path / "x")
        tracker.tags({"a": "b"})
    assert isinstance(tracker, NullTracker)
    assert (tracker.run_id, tracker.links, tracker.place) == (None, {}, {})


def test_the_default_store_is_the_one_mlflow_ui_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert absolute_uri(None) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere")
    assert absolute_uri(None) == "http://somewhere"
    assert absolute_uri("sqlite:////data/runs.db") == "sqlite:////data/runs.db"


def test_flatten_names_every_value() -> None:
    nested = {"stages": [{"epochs": 3}, {"epochs": 4}], "uri": None, "bad key!": True}
    assert dict(flatten(nested)) == {
        "stages.0.epochs": "3",
        "stages.1.epochs": "4",
        "uri": "None",
        "bad key_": "True",
    }


def test_mlflow_is_imported_by_nobody_but_the_thread() -> None:
    import subprocess
    import sys

    code = "import esen.track, sys; sys.exit('mlflow' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


class _Server(ThreadingHTTPServer):
    """A server on this machine that answers every request after `seconds`: with an error, or not at all."""

    daemon_threads = True
    seconds = 0.0
    asked = 0


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, _Server)
        self.server.asked += 1
        time.sleep(self.server.seconds)
        with suppress(OSError):  # the client has left
            self.send_error(500)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[_Server]:
    made = _Server(("127.0.0.1", 0), _Handler)
    threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.mark.parametrize("seconds", [0.0, 60.0], ids=["answers 500", "never answers"])
def test_a_server_that_fails_costs_one_deadline_for_the_run_and_all_its_parts(
    seconds: float, server: _Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("esen.track.mlflow_tracker.CLOSE_SECONDS", 0.8)
    server.seconds = seconds
    begun = time.monotonic()
    with make_tracker(True, f"http://me:s3cret@127.0.0.1:{server.server_address[1]}") as tracker:
        tracker.params({"seed": 1})
        for stage in range(3):
            with tracker.child(f"stage {stage}") as part:
                part.metrics({"loss": 1.0}, stage)
    assert time.monotonic() - begun < 5
    (message,) = [record.getMessage() for record in caplog.records]
    assert f"http://127.0.0.1:{server.server_address[1]}" in message
    assert "s3cret" not in caplog.text


def test_ctrl_c_ends_the_wait_for_a_store(
    server: _Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server.seconds = 60
    tracker = make_tracker(True, f"http://127.0.0.1:{server.server_address[1]}")
    tracker.metrics({"loss": 1.0}, 0)
    wait_until(lambda: server.asked > 0)
    threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    begun = time.monotonic()
    tracker.close()
    assert time.monotonic() - begun < 10
    assert "interrupted" in caplog.text


def test_a_run_that_reports_nothing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError), make_tracker(True) as tracker:
        tracker.tags({"command": "train"})
        raise InputError("no such file")
    assert not list(tmp_path.iterdir())
    assert tracker.links == {}


def test_a_deleted_experiment_is_named_with_its_cure(
    mlflow_uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=mlflow_uri)
    number = client.create_experiment("gone/../[x]")
    client.delete_experiment(number)
    with make_tracker(True, mlflow_uri, "gone/../[x]") as tracker:
        tracker.params({"seed": 1})
    assert tracker.run_id is None
    assert f"mlflow experiments restore -x {number}" in caplog.text
    assert "gone/../[x]" in caplog.text


def test_what_waited_is_sent_with_its_own_steps_and_times(
    mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setattr("esen.track.mlflow_tracker.RETRY_SECONDS", 0.05)
    other = sqlite3.connect(mlflow_uri.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    begun = time.time()
    tracker = make_tracker(True, mlflow_uri, "late")
    for step in range(3):
        tracker.metrics({"loss": 1.0}, step)
    reported = time.time()
    time.sleep(0.3)
    other.execute("ROLLBACK")
    other.close()
    tracker.close()
    client = MlflowClient(tracking_uri=mlflow_uri)
    history = client.get_metric_history(tracker.run_id, "loss")
    assert [point.step for point in history] == [0, 1, 2]
    assert all(begun - 1 < point.timestamp / 1000 < reported + 0.1 for point in history)
    run = client.get_run(tracker.run_id)
    assert begun - 1 < run.info.start_time / 1000 < reported
    kinds = client.get_experiment(run.info.experiment_id).tags
    assert kinds["mlflow.experimentKind"] == "custom_model_development"


def test_names_of_experiments_and_metrics_stay_within_their_folder(mlflow_uri: str) -> None:
    with make_tracker(True, mlflow_uri, "../../[x]/ü\n") as tracker:
        tracker.metrics({"../a//b": 1.0, "": 2.0, "a/./c": 3.0}, 0)
    run = stored_run(mlflow_uri, tracker.run_id)
    ours = {key: value for key, value in run.data.metrics.items() if not key.startswith("system/")}
    assert ours == {"a/b": 1.0, "_": 2.0, "a/c": 3.0}
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    assert folder.parents[2] == Path(mlflow_uri.removeprefix("sqlite:///")).parent / "mlruns"
