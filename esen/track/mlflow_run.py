"""One run in an MLflow store, and what waits to be sent to it."""

import logging
import os
import re
import sqlite3
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from esen.track.tracker import Status

_SYSTEM_SECONDS = 5.0
_MAX_WAITING_METRICS = 200_000
_METRICS_PER_CALL, _PARAMS_PER_CALL = 1000, 100  # MLflow's limits on one request
_MAX_KEY, _MAX_VALUE = 250, 6000  # MLflow's limits on the length of names and of parameters

# MLflow waits long for a dead server, prints links and reports its usage. A user's own choice stands.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}

logger = logging.getLogger("esen.track")


@dataclass
class Waiting:
    """What the store has not taken yet. Of too many metrics the oldest are dropped."""

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: deque[tuple[str, float, int, int]] = field(
        default_factory=lambda: deque(maxlen=_MAX_WAITING_METRICS)
    )
    artifacts: dict[tuple[Path, str], None] = field(default_factory=dict)

    def add(self, newer: "Waiting") -> None:
        """Take over what came later."""
        self.params.update(newer.params)
        self.tags.update(newer.tags)
        self.metrics.extend(newer.metrics)
        self.artifacts.update(newer.artifacts)


class MlflowRun:
    """One run in a store. Only the tracker's thread calls it; a method that raised may be called again.

    `connect` is also called by the threads of the parts of the run, which the store must know after it.
    """

    def __init__(
        self, uri: str, experiment: str, name: str, resume_id: str | None, parent: "MlflowRun | None" = None
    ) -> None:
        self.uri, self.experiment, self.name, self.resume_id = uri, experiment, name, resume_id
        self.parent = parent
        self._connecting = threading.Lock()
        self.run_id: str | None = None
        self.url: str | None = uri
        self._waiting = Waiting()
        self._known_params: dict[str, str] = {}
        self._client: Any = None
        self._system: _SystemMetrics | None = None

    def connect(self) -> None:
        """Open the store, and begin the run or continue it."""
        if self.parent is not None:
            self.parent.connect()
        with self._connecting:
            if self.run_id is None:
                self._connect()

    def _connect(self) -> None:
        for key, value in _ENVIRONMENT.items():
            os.environ.setdefault(key, value)
        _check_sqlite(self.uri)
        # MLflow's own models use what SQLAlchemy 2.1 deprecates.
        warnings.filterwarnings("ignore", "The ``noload`` loader strategy", DeprecationWarning)
        from mlflow import MlflowClient  # seconds long: not on the run's own thread

        for noisy in ("mlflow.store.db.utils", "mlflow.system_metrics", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        self._client = client = MlflowClient(tracking_uri=self.uri)
        run = self._resumed() if self.resume_id else None
        if run is None:
            tags = {"mlflow.source.name": Path(sys.argv[0]).name or "python", "mlflow.source.type": "LOCAL"}
            if self.parent is not None and self.parent.run_id is not None:
                tags["mlflow.parentRunId"] = self.parent.run_id
            run = client.create_run(self._experiment_id(), run_name=self.name or None, tags=tags)
        self._known_params = dict(run.data.params)
        if self.uri.startswith("http"):
            self.url = f"{self.uri.rstrip('/')}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
        self.run_id = run.info.run_id
        if self.parent is not None:
            return  # it has the readings of the system
        try:
            self._system = _SystemMetrics(run.info.run_id, self.uri, run.info.start_time)
        except Exception as error:  # a driver of another vendor, a container without /proc
            logger.warning("tracking: no system metrics: %s", one_line(error))

    def _resumed(self) -> Any:
        """The earlier run, running again; None where the store has no such run."""
        from mlflow.exceptions import MlflowException

        try:
            run = self._client.get_run(self.resume_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            logger.warning("tracking: no run %s in %s; a new run is begun", self.resume_id, self.uri)
            return None
        self._client.update_run(self.resume_id, status="RUNNING")
        return run

    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        database = _sqlite_path(self.uri)  # its artifacts lie beside it, wherever the working directory is
        location = None if database is None else str(database.parent / "mlruns" / legal_key(self.experiment))
        return str(self._client.create_experiment(self.experiment, artifact_location=location))

    def send(self, new: Waiting, last: bool) -> None:
        """Send all that waits. What was sent before an error is not sent again."""
        from mlflow.entities import Metric, Param, RunTag

        waiting = self._waiting
        waiting.add(new)
        if self._system is not None:
            waiting.metrics.extend(self._system.due(last))
        # A parameter cannot change in MLflow: a value that a resumed run was given anew is a tag.
        for key, value in list(waiting.params.items()):
            if key in self._known_params:
                if self._known_params[key] != value:
                    waiting.tags[f"resumed.{key}"] = value
                del waiting.params[key]
        while waiting.params or waiting.tags:
            params, tags = _first(waiting.params), _first(waiting.tags)
            self._client.log_batch(
                self.run_id,
                params=[Param(*item) for item in params.items()],
                tags=[RunTag(*item) for item in tags.items()],
            )
            self._known_params |= params
            waiting.params = {k: v for k, v in waiting.params.items() if k not in params}
            waiting.tags = {k: v for k, v in waiting.tags.items() if k not in tags}
        while waiting.metrics:
            count = min(len(waiting.metrics), _METRICS_PER_CALL)
            batch = [Metric(*waiting.metrics[i]) for i in range(count)]
            self._client.log_batch(self.run_id, metrics=batch)
            for _ in range(count):
                waiting.metrics.popleft()
        while waiting.artifacts:
            path, folder = next(iter(waiting.artifacts))
            if path.exists():
                self._client.log_artifact(self.run_id, str(path), folder or None)
            else:
                logger.warning("tracking: %s was gone before it could be kept", path)
            del waiting.artifacts[path, folder]

    def finish(self, status: Status) -> None:
        """Mark the run as ended."""
        self._client.set_terminated(self.run_id, status)


class _SystemMetrics:
    """MLflow's readings of processor, memory, disk, network and GPU, without its thread and its waiting."""

    def __init__(self, run_id: str, uri: str, start_time: int) -> None:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        self._monitor = SystemMetricsMonitor(run_id, sampling_interval=_SYSTEM_SECONDS, tracking_uri=uri)
        self._start_time = start_time
        self._monitor.collect_metrics()  # a processor's load is measured since the reading before
        self._clear()
        self._next = time.monotonic() + 1.0  # an early first reading, for the sake of short runs

    def due(self, now: bool) -> list[tuple[str, float, int, int]]:
        """A reading, if it is time or `now`; its step is the number of intervals since the run began."""
        if time.monotonic() < self._next and not now:
            return []
        interval = float(self._monitor.sampling_interval)
        self._next = time.monotonic() + interval
        self._monitor.collect_metrics()
        values = self._monitor.aggregate_metrics()
        self._clear()
        timestamp = int(time.time() * 1000)
        step = int((timestamp - self._start_time) / (1000 * interval))
        return [(legal_key(f"system/{key}"), float(value), timestamp, step) for key, value in values.items()]

    def _clear(self) -> None:
        for monitor in self._monitor.monitors:
            monitor.clear_metrics()


def flatten(values: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested mappings and lists as dotted names and words, within MLflow's limits on both.

    >>> dict(flatten({"model": {"lmax": 2}, "stages": [{"epochs": 60}]}))
    {'model.lmax': '2', 'stages.0.epochs': '60'}
    """
    if isinstance(values, Mapping):
        pairs: Iterator[tuple[Any, Any]] = iter(values.items())
    elif isinstance(values, list | tuple):
        pairs = iter(enumerate(values))
    else:
        words = str(values)
        yield legal_key(prefix), words if len(words) <= _MAX_VALUE else words[: _MAX_VALUE - 1] + "…"
        return
    for key, value in pairs:
        yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))


def legal_key(name: str) -> str:
    """MLflow takes letters, digits and `_-. :/` in a name."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:_MAX_KEY]


def _first(values: dict[str, str]) -> dict[str, str]:
    return dict(list(values.items())[:_PARAMS_PER_CALL])


def absolute_uri(uri: str | None) -> str:
    """The store's address, independent of a later change of the working directory."""
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    path = _sqlite_path(uri)
    return uri if path is None else f"sqlite:///{path.absolute()}"


def _sqlite_path(uri: str) -> Path | None:
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def _check_sqlite(uri: str) -> None:
    """Raise at once what MLflow would find out after minutes: a file that cannot be written, or is locked."""
    path = _sqlite_path(uri)
    if path is None:
        return
    try:
        with closing(sqlite3.connect(path, timeout=5.0)) as database:
            database.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        raise OSError(f"cannot write {path}: {error}") from error


def one_line(error: BaseException) -> str:
    """An error's words, short enough for a warning."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= 200 else words[:199] + "…"
