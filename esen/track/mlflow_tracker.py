"""A tracker that sends a run to MLflow from a background thread.

MLflow's own asynchronous logging (`log_batch(synchronous=False)`, MLflow 3.17) was tried and not adopted: it drops
a batch that the store refuses instead of sending it again, and a store that hangs delays the exit of the process
without limit. It also covers neither the creation of the run nor artifacts, and the first call imports MLflow, so
that this thread would be needed beside it.
"""

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
from itertools import islice
from pathlib import Path
from typing import Any, Self

from esen.errors import first_line
from esen.track.tracker import NullTracker, Status, Tracker

SEND_SECONDS, CLOSE_SECONDS = 3.0, 60.0
RETRY_SECONDS, MAX_RETRY_SECONDS = 10.0, 600.0
_SYSTEM_SECONDS = 5.0
_MAX_WAITING_METRICS = 200_000
_METRICS_PER_CALL, _PARAMS_PER_CALL = 1000, 100  # MLflow's limits on one request
_MAX_KEY, _MAX_VALUE = 250, 6000  # MLflow's limits on the length of names and of parameters

# By default MLflow waits for minutes for a dead server, prints links and reports its usage. Variables that the user
# has set keep their values.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}

logger = logging.getLogger("esen.track")

Metric = tuple[str, float, int, int]
"""Name, value, time in ms and step."""


def make_tracker(
    enabled: bool,
    uri: str | None = None,
    experiment: str = "esen",
    run_name: str = "",
    resume_id: str | None = None,
) -> Tracker:
    """Return a tracker that sends the run to MLflow, or one that keeps nothing.

    Args:
        enabled: whether the run is tracked.
        uri: address of MLflow's store or server; None for `$MLFLOW_TRACKING_URI` or, if that is not set, `mlflow.db` in
            the working directory.
        experiment: name of the experiment, which is created if it does not exist.
        run_name: name of a new run.
        resume_id: `run_id` of an earlier run, which this one continues.
    """
    return MlflowTracker(uri, experiment, run_name, resume_id) if enabled else NullTracker()


@dataclass
class _Unsent:
    """Values that the store has not accepted yet. If there are too many metrics, the oldest are dropped."""

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: deque[Metric] = field(default_factory=lambda: deque(maxlen=_MAX_WAITING_METRICS))
    artifacts: dict[tuple[Path, str], None] = field(default_factory=dict)  # a set that keeps the order


class MlflowTracker(Tracker):
    """Sends the run to MLflow. The public methods only store values; a thread sends them every few seconds.

    Args:
        uri: as in `make_tracker`.
        experiment: as in `make_tracker`.
        name: name of a new run.
        resume_id: as in `make_tracker`.
        parent: tracker of the run that this run is a part of.
    """

    def __init__(
        self, uri: str | None, experiment: str, name: str, resume_id: str | None, parent: Self | None = None
    ) -> None:
        self._uri = self.url = absolute_uri(uri)
        self._experiment, self._name, self._resume_id, self._parent = experiment, name, resume_id, parent
        self._reported, self._report_lock = _Unsent(), threading.Lock()
        self._unsent = _Unsent()  # of the thread alone
        self._connect_lock = threading.Lock()
        self._client: Any = None
        self._known_params: dict[str, str] = {}
        self._system: _SystemMetrics | None = None
        self._closing = threading.Event()
        self._status: Status = "FINISHED"
        self._thread = threading.Thread(target=self._run, name="esen.track", daemon=True)
        self._thread.start()

    def params(self, values: Mapping[str, Any]) -> None:
        """See `Tracker`."""
        with self._report_lock:
            self._reported.params.update(flatten(values))

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """See `Tracker`."""
        now = int(time.time() * 1000)
        with self._report_lock:
            self._reported.metrics.extend((legal_key(k), float(v), now, step) for k, v in values.items())

    def artifact(self, path: Path, folder: str = "") -> None:
        """See `Tracker`. A file that is reported several times before it is sent is sent once."""
        with self._report_lock:
            self._reported.artifacts[Path(path).absolute(), folder] = None

    def tags(self, values: Mapping[str, str]) -> None:
        """See `Tracker`."""
        with self._report_lock:
            self._reported.tags.update({legal_key(key): str(value) for key, value in values.items()})

    def child(self, name: str, resume_id: str | None = None) -> Tracker:
        """See `Tracker`."""
        return MlflowTracker(self._uri, self._experiment, name, resume_id, self)

    def close(self, status: Status = "FINISHED") -> None:
        """See `Tracker`. Waits for the store for at most one minute."""
        if self._closing.is_set():
            return
        self._status = status
        self._closing.set()
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            logger.warning("tracking: the store did not accept everything within %.0f s", CLOSE_SECONDS)

    def _run(self) -> None:
        """Send every few seconds, less often after a failure, and a last time when the tracker is closed."""
        wait, pause, warned = 0.0, RETRY_SECONDS, False
        while True:
            last = self._closing.wait(wait)
            try:
                self._connect()
                self._send(last)
                wait, pause = SEND_SECONDS, RETRY_SECONDS
            except Exception as error:  # no error may reach the run
                if not warned:
                    words = first_line(error)[:200]
                    logger.warning("tracking in %s: %s; the run goes on without it", self._uri, words)
                warned, wait, pause = True, pause, min(2 * pause, MAX_RETRY_SECONDS)
                last = (
                    last or self._closing.is_set()
                )  # closed during the failed attempt: there is no second one
            if last:
                return

    def _connect(self) -> None:
        """Open the store and start or continue the run. The threads of child trackers call this method too."""
        with self._connect_lock:
            if self.run_id is not None:
                return
            for key, value in _ENVIRONMENT.items():
                os.environ.setdefault(key, value)
            _check_sqlite(self._uri)
            # MLflow's models use what SQLAlchemy 2.1 deprecates.
            warnings.filterwarnings("ignore", "The ``noload`` loader strategy", DeprecationWarning)
            from mlflow import MlflowClient  # takes seconds, so it is imported in this thread

            for noisy in ("mlflow.store.db.utils", "mlflow.system_metrics", "alembic"):
                logging.getLogger(noisy).setLevel(logging.WARNING)
            self._client = MlflowClient(tracking_uri=self._uri)
            run = self._resumed_run() or self._new_run()
            self._known_params = dict(run.data.params)
            if self._uri.startswith("http"):
                page = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
                self.url = f"{self._uri.rstrip('/')}/{page}"
            self.run_id = run.info.run_id
            if self._parent is not None:
                return  # the parent reports the system metrics
            try:
                self._system = _SystemMetrics(run.info, self._uri)
            except Exception as error:  # e.g. a driver of another vendor, or a container without /proc
                logger.warning("tracking: no system metrics: %s", first_line(error)[:200])

    def _resumed_run(self) -> Any:
        """Set the earlier run to running and return it; None if there is none in the store."""
        from mlflow.exceptions import MlflowException

        if not self._resume_id:
            return None
        try:
            run = self._client.get_run(self._resume_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            logger.warning("tracking: %s has no run %s; a new run is started", self._uri, self._resume_id)
            return None
        self._client.update_run(self._resume_id, status="RUNNING")
        return run

    def _new_run(self) -> Any:
        tags = {"mlflow.source.name": Path(sys.argv[0]).name or "python", "mlflow.source.type": "LOCAL"}
        if self._parent is not None:
            self._parent._connect()
            tags["mlflow.parentRunId"] = str(self._parent.run_id)
        found = self._client.get_experiment_by_name(self._experiment)
        if found is not None:
            experiment_id = found.experiment_id
        else:
            database = _sqlite_path(self._uri)  # artifacts are stored beside it, not in the working directory
            location = database and str(database.parent / "mlruns" / legal_key(self._experiment))
            experiment_id = self._client.create_experiment(self._experiment, artifact_location=location)
        return self._client.create_run(experiment_id, run_name=self._name or None, tags=tags)

    def _send(self, last: bool) -> None:
        """Send all values. If the store fails, those that it has not accepted are sent by the next call."""
        with self._report_lock:
            new, self._reported = self._reported, _Unsent()
        self._unsent.tags.update(new.tags)
        self._unsent.metrics.extend(new.metrics)
        self._unsent.artifacts.update(new.artifacts)
        for key, value in new.params.items():
            # MLflow refuses to change a parameter; a new value in a resumed run becomes a tag.
            if self._known_params.setdefault(key, value) == value:
                self._unsent.params[key] = value
            else:
                self._unsent.tags[f"resumed.{key}"] = value
        if self._system is not None:
            self._unsent.metrics.extend(self._system.reading(last))
        try:
            self._send_values()
            self._send_artifacts()
        finally:
            if last:
                self._client.set_terminated(self.run_id, self._status)

    def _send_values(self) -> None:
        from mlflow.entities import Metric, Param, RunTag

        unsent = self._unsent
        while unsent.params or unsent.tags or unsent.metrics:
            params = list(islice(unsent.params.items(), _PARAMS_PER_CALL))
            tags = list(islice(unsent.tags.items(), _PARAMS_PER_CALL))
            metrics = list(islice(unsent.metrics, _METRICS_PER_CALL - len(params) - len(tags)))
            self._client.log_batch(
                self.run_id,
                metrics=[Metric(*metric) for metric in metrics],
                params=[Param(*param) for param in params],
                tags=[RunTag(*tag) for tag in tags],
            )
            for key, _ in params:
                del unsent.params[key]
            for key, _ in tags:
                del unsent.tags[key]
            for _ in metrics:
                unsent.metrics.popleft()

    def _send_artifacts(self) -> None:
        for path, folder in list(self._unsent.artifacts):
            if path.exists():
                self._client.log_artifact(self.run_id, str(path), folder or None)
            else:
                logger.warning("tracking: %s was removed before it was sent", path)
            del self._unsent.artifacts[path, folder]


class _SystemMetrics:
    """MLflow's readings of processor, memory, disk, network and GPU.

    MLflow's own thread for them is not used: it ends for good when the store fails once.
    """

    def __init__(self, run: Any, uri: str) -> None:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        self._monitor = SystemMetricsMonitor(run.run_id, sampling_interval=_SYSTEM_SECONDS, tracking_uri=uri)
        self._start_time = run.start_time
        self._next = time.monotonic() + 1.0  # early, so that a short run has a reading
        self._read()  # the load of the processor is measured since the previous reading

    def reading(self, now: bool) -> list[Metric]:
        """Return a reading if it is time or `now`. Its step is the number of intervals since the run started."""
        if time.monotonic() < self._next and not now:
            return []
        interval = float(self._monitor.sampling_interval)
        self._next = time.monotonic() + interval
        timestamp = int(time.time() * 1000)
        step = int((timestamp - self._start_time) / (1000 * interval))
        values = self._read()
        return [(legal_key(f"system/{key}"), float(value), timestamp, step) for key, value in values.items()]

    def _read(self) -> dict[str, float]:
        self._monitor.collect_metrics()
        values: dict[str, float] = self._monitor.aggregate_metrics()
        for monitor in self._monitor.monitors:
            monitor.clear_metrics()
        return values


def flatten(values: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted names and texts of nested mappings and lists, within MLflow's limits on both.

    >>> dict(flatten({"model": {"lmax": 2}, "stages": [{"epochs": 60}]}))
    {'model.lmax': '2', 'stages.0.epochs': '60'}
    """
    if isinstance(values, Mapping):
        pairs: Iterator[tuple[Any, Any]] = iter(values.items())
    elif isinstance(values, list | tuple):
        pairs = iter(enumerate(values))
    else:
        text = str(values)
        yield legal_key(prefix), text if len(text) <= _MAX_VALUE else text[: _MAX_VALUE - 1] + "…"
        return
    for key, value in pairs:
        yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))


def legal_key(name: str) -> str:
    """Return a name with only what MLflow allows in it: letters, digits and `_-. :/`."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:_MAX_KEY]


def absolute_uri(uri: str | None) -> str:
    """Return the address of the store, independent of a later change of the working directory."""
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    path = _sqlite_path(uri)
    return uri if path is None else f"sqlite:///{path.absolute()}"


def _sqlite_path(uri: str) -> Path | None:
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def _check_sqlite(uri: str) -> None:
    """Raise OSError if the database is locked or cannot be written, which MLflow notices only after many retries."""
    path = _sqlite_path(uri)
    if path is None:
        return
    try:
        with closing(sqlite3.connect(path, timeout=5.0)) as database:
            database.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        raise OSError(f"cannot write {path}: {error}") from error
