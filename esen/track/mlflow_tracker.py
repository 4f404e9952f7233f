"""A tracker that sends a run to MLflow from a background thread.

MLflow's own asynchronous logging (`log_batch(synchronous=False)`, MLflow 3.17) was tried and not adopted: it drops
a batch that the store refuses instead of sending it again, and a store that hangs delays the exit of the process
without limit. It also covers neither the creation of the run nor artifacts, and the first call imports MLflow, so
that this thread would be needed beside it.
"""

import getpass
import logging
import os
import posixpath
import re
import sqlite3
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Self

from esen.errors import InputError, first_line
from esen.text import without_secrets
from esen.track.address import absolute_uri, database_file, open_command, words_of
from esen.track.study_run import StudyRun
from esen.track.tracker import NullTracker, Status, Tracker

SEND_SECONDS, CLOSE_SECONDS = 3.0, 60.0
_SILENT_SECONDS = 10.0  # instead of the latter, for a store that has not answered to the study either
RETRY_SECONDS, MAX_RETRY_SECONDS = 10.0, 600.0
_SYSTEM_SECONDS = 5.0
_MAX_WAITING_METRICS = 200_000
_METRICS_PER_CALL, _PARAMS_PER_CALL = 1000, 100  # MLflow's limits on one request
_MAX_KEY, _MAX_VALUE = 250, 5000  # MLflow's limits on the length of names, and of parameters and tags
_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Tag of an experiment with which MLflow's pages open on the table of runs instead of on traces of language models."""

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
    experiment: str | None = None,
    run_name: str = "",
    resume_id: str | None = None,
) -> Tracker:
    """Return a tracker that sends the run to MLflow, or one that keeps nothing.

    In a process that computes a cell of a study (`StudyRun`), the run has the cell's name and tags, lies below the run
    of the study, and is kept in its store and experiment where no others are given.

    Args:
        enabled: whether the run is tracked.
        uri: address of MLflow's store or server; None for `$MLFLOW_TRACKING_URI` or, if that is not set, `mlflow.db` in
            the working directory.
        experiment: name of the experiment, which is created if it does not exist; None for
            `$MLFLOW_EXPERIMENT_NAME` or, if that is not set, `esen`.
        run_name: name of a new run.
        resume_id: `run_id` of an earlier run, which this one continues.
    """
    if not enabled:
        return NullTracker()
    study = StudyRun.current() or StudyRun()
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        uri = uri or study.uri or None
    experiment = experiment or study.experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "esen"
    patience = _SILENT_SECONDS if study.store_is_silent else CLOSE_SECONDS
    store = _Store(absolute_uri(uri), experiment, min(patience, CLOSE_SECONDS))
    return MlflowTracker(store, study.name or run_name, resume_id, study=study)


@dataclass
class _Unsent:
    """Values that the store has not accepted yet. If there are too many metrics, the oldest are dropped."""

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: deque[Metric] = field(default_factory=lambda: deque(maxlen=_MAX_WAITING_METRICS))
    artifacts: dict[tuple[Path, str], None] = field(default_factory=dict)  # a set that keeps the order


class MlflowTracker(Tracker):
    """Sends the run to MLflow. The public methods only store values; the thread of the store sends them.

    Args:
        store: where the run is kept.
        name: name of a new run.
        resume_id: as in `make_tracker`.
        parent: tracker of the run that this run is a part of.
        study: of whose cell it is a run.
        other_potential: whether it is of a potential that is no variant of the study.
    """

    status: Status | None
    """How the run ended; None before it is closed."""

    def __init__(
        self,
        store: "_Store",
        name: str,
        resume_id: str | None = None,
        parent: Self | None = None,
        *,
        study: StudyRun | None = None,
        other_potential: bool = False,
    ) -> None:
        self.store, self.parent, self.status = store, parent, None
        self.settled = threading.Event()  # closed, and nobody waits for it any more
        self.tried = threading.Event()  # the store has accepted the run or has failed to
        self.sent = False  # closed, and the store has everything
        self._name, self._resume_id, self._begun = name, resume_id, _now()
        self._reported, self._report_lock = _Unsent(), threading.Lock()
        self._unsent = _Unsent()  # of the thread alone
        self._known_params: dict[str, str] = {}
        self._system: _SystemMetrics | None = None
        self._study = study or StudyRun()
        self._study_tags = self._study.tags_of_run(self.place, other_potential=other_potential)
        self._unsent.tags.update(self._study_tags)
        store.members.append(self)

    @property
    def links(self) -> dict[str, str]:
        """See `Tracker`."""
        return {} if self.run_id is None else self.store.links(self.run_id)

    @property
    def place(self) -> dict[str, str]:
        """See `Tracker`."""
        return {"uri": without_secrets(self.store.uri), "experiment": self.store.experiment}

    def params(self, values: Mapping[str, Any]) -> None:
        """See `Tracker`."""
        with self._report_lock:
            self._reported.params.update(flatten(values))
        self.store.serve(self)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """See `Tracker`."""
        now = _now()
        with self._report_lock:
            self._reported.metrics.extend((legal_key(k), float(v), now, step) for k, v in values.items())
        self.store.serve(self)

    def artifact(self, path: Path, folder: str = "") -> None:
        """See `Tracker`. A file that is reported several times before it is sent is sent once."""
        with self._report_lock:
            self._reported.artifacts[Path(path).absolute(), folder] = None

    def tags(self, values: Mapping[str, str]) -> None:
        """See `Tracker`."""
        with self._report_lock:
            new = {legal_key(key): _text(value) for key, value in values.items()}
            self._reported.tags.update(
                new | {key: self._study_tags[key] for key in new.keys() & self._study_tags}
            )

    def child(self, name: str, resume_id: str | None = None) -> Tracker:
        """See `Tracker`."""
        return MlflowTracker(self.store, name, resume_id, self)

    def sibling(self, name: str) -> Tracker:
        """See `Tracker`."""
        return MlflowTracker(self.store, name, study=self._study, other_potential=True)

    def answered(self, seconds: float) -> bool:
        """See `Tracker`."""
        return self.tried.wait(seconds)

    def close(self, status: Status = "FINISHED") -> None:
        """See `Tracker`. All trackers of a store together wait for it for at most one minute, or until Ctrl-C."""
        if self.status is None:
            self.status = status
            self.store.wait_for(self)

    def send(self) -> None:
        """Send all values. If the store fails, those that it has not accepted are sent by the next call."""
        status = self.status
        self._start()
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
            self._unsent.metrics.extend(self._system.reading(status is not None))
        try:
            self._send_values()
            self._send_artifacts()
        finally:
            if status is not None:
                self.store.client.set_terminated(self.run_id, status)
        self.sent = status is not None

    def _start(self) -> None:
        """Start the run in the store, or continue it."""
        if self.run_id is not None:
            return
        if self.parent is not None:
            self.parent._start()
        run = self.store.earlier_run(self._resume_id) if self._resume_id else None
        if run is None:
            tags = {"mlflow.source.name": "esen", "mlflow.source.type": "LOCAL"}
            with suppress(OSError, KeyError):  # a user without a name
                tags["mlflow.user"] = getpass.getuser()
            if self.parent is not None:
                tags["mlflow.parentRunId"] = str(self.parent.run_id)
            run = self.store.new_run(self._name, self._begun, tags)
        self._known_params = dict(run.data.params)
        self.run_id = run.info.run_id
        if self.parent is not None:
            return  # the parent reports the system metrics
        try:
            self._system = _SystemMetrics(run.info, self.store.uri)
        except Exception as error:  # e.g. a driver of another vendor, or a container without /proc
            logger.warning("tracking: no system metrics: %s", first_line(error)[:200])

    def _send_values(self) -> None:
        from mlflow.entities import Metric, Param, RunTag

        unsent = self._unsent
        while unsent.params or unsent.tags or unsent.metrics:
            params = list(islice(unsent.params.items(), _PARAMS_PER_CALL))
            tags = list(islice(unsent.tags.items(), _PARAMS_PER_CALL))
            metrics = list(islice(unsent.metrics, _METRICS_PER_CALL - len(params) - len(tags)))
            self.store.client.log_batch(
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
                self.store.client.log_artifact(self.run_id, str(path), folder or None)
            else:
                logger.warning("tracking: %s was removed before it was sent", path)
            del self._unsent.artifacts[path, folder]


class _Store:
    """The connection to MLflow, and the thread that sends what the trackers of a run and of its parts have reported.

    Args:
        uri: absolute address.
        experiment: name of the experiment.
        patience: seconds that closed trackers together wait for it.
    """

    def __init__(self, uri: str, experiment: str, patience: float) -> None:
        self.uri, self.experiment = uri, experiment
        self.client: Any = None
        self._experiment_id = ""
        self.members: list[MlflowTracker] = []  # all trackers
        self._trackers: list[MlflowTracker] = []  # those that have reported something
        self._lock, self._wake = threading.Lock(), threading.Event()
        self._patience = self._longest = patience
        self._warned = self._ended = False

    def serve(self, tracker: MlflowTracker) -> None:
        """Send what this tracker reports. The first call starts the thread, so that no run is made before it."""
        with self._lock:
            new = [one for one in (tracker.parent, tracker) if one is not None and one not in self._trackers]
            first = not self._trackers
            self._trackers += new
        if first:
            threading.Thread(target=self._run, name="esen.track", daemon=True).start()

    def wait_for(self, tracker: MlflowTracker) -> None:
        """Wait until everything of a closed tracker is sent or given up."""
        if tracker not in self._trackers or self._ended:
            return
        self._wake.set()
        begun = time.monotonic()
        try:
            settled, why = tracker.settled.wait(self._patience), f"within {self._longest:.0f} s"
        except KeyboardInterrupt:
            settled, why, begun = False, "before it was interrupted", -self._longest
        self._patience = max(0.0, self._patience - (time.monotonic() - begun))
        if not settled:
            self._warn(f"the store did not accept everything {why}")

    def links(self, run_id: str) -> dict[str, str]:
        """Return the page of a run, and the command that shows the store if that is not a server.

        Without `workflowType`, MLflow 3.17 opens on traces of language models whatever the experiment is.
        """
        is_server = self.uri.startswith("http")
        server = without_secrets(self.uri).rstrip("/") if is_server else "http://127.0.0.1:5000"
        page = f"{server}/#/experiments/{self._experiment_id}/runs/{run_id}?workflowType=machine_learning"
        return ({} if is_server else {"MLflow": open_command(self.uri)}) | {"tracked run": page}

    def earlier_run(self, run_id: str) -> Any:
        """Set an earlier run to running and return it; None if there is none in the store."""
        from mlflow.exceptions import MlflowException

        self._open()
        run = None
        try:
            run = self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
        if run is None or run.info.lifecycle_stage == "deleted":
            shown = without_secrets(self.uri)
            logger.warning("tracking: %s has no run %s; a new run is started", shown, run_id)
            return None
        self.client.update_run(run_id, status="RUNNING")
        self._experiment_id = run.info.experiment_id
        return run

    def new_run(self, name: str, begun: int, tags: dict[str, str]) -> Any:
        """Start a run in the experiment, which is created if it does not exist."""
        self._open()
        found = self.client.get_experiment_by_name(self.experiment)
        if found is None:
            database = database_file(self.uri)  # artifacts are stored beside it, not in the working directory
            folder = legal_key(self.experiment.replace("/", "_"))
            location = None if database is None else (database.parent / "mlruns" / folder).as_uri()
            self._experiment_id = self.client.create_experiment(self.experiment, location, _KIND)
        else:
            self._experiment_id = found.experiment_id
            if found.lifecycle_stage == "deleted":
                raise InputError(
                    f"the experiment {self.experiment!r} was deleted; restore it with"
                    f" `mlflow experiments restore -x {found.experiment_id}`, or name another with"
                    " tracking.experiment in the recipe or with $MLFLOW_EXPERIMENT_NAME"
                )
            if not _KIND.keys() & found.tags.keys():
                self.client.set_experiment_tag(self._experiment_id, *next(iter(_KIND.items())))
        return self.client.create_run(self._experiment_id, begun, tags, name or None)

    def _open(self) -> None:
        self.client = self.client or open_client(self.uri)

    def _run(self) -> None:
        """Send every few seconds, less often after a failure, and a last time when all trackers are closed."""
        wait, pause = 0.0, RETRY_SECONDS
        while not self._ended:
            self._wake.wait(wait)
            self._wake.clear()
            closed = self._closed()
            try:
                for tracker in reversed(list(self._trackers)):  # the parts before the whole
                    if not tracker.sent:
                        tracker.send()
                wait, pause = SEND_SECONDS, RETRY_SECONDS
            except Exception as error:  # no error may reach the run
                self._warn(f"{words_of(error, self.uri)}; the run goes on without it")
                wait, pause = pause, min(2 * pause, MAX_RETRY_SECONDS)
                closed = self._closed()  # closed during the failed attempt: nobody waits for a second one
            for tracker in self._trackers:
                tracker.tried.set()
            self._ended = len(closed) == len(self.members)
            for tracker in closed:
                tracker.settled.set()

    def _closed(self) -> list[MlflowTracker]:
        return [tracker for tracker in self.members if tracker.status is not None]

    def _warn(self, words: str) -> None:
        if not self._warned:
            logger.warning("tracking in %s: %s", without_secrets(self.uri), words)
        self._warned = True


def open_client(uri: str) -> Any:
    """Return MLflow's client of a store, with short time limits and without its messages.

    Raises:
        OSError: An SQLite database is locked or cannot be written.
    """
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    _check_sqlite(uri)
    # MLflow's models use what SQLAlchemy 2.1 deprecates.
    warnings.filterwarnings("ignore", "The ``noload`` loader strategy", DeprecationWarning)
    from mlflow import MlflowClient  # takes seconds, so it is imported in the thread

    for noisy in ("mlflow.store.db.utils", "mlflow.system_metrics", "alembic", "urllib3.connectionpool"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=uri)


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
        step = int((_now() - self._start_time) / (1000 * interval))
        values = self._read()
        return [(legal_key(f"system/{key}"), float(value), _now(), step) for key, value in values.items()]

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
        yield legal_key(prefix), _text(values)
        return
    for key, value in pairs:
        yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))


def legal_key(name: str) -> str:
    """Return a name with only what MLflow allows in it: letters, digits and `_-. :/`, as a path within a folder.

    >>> legal_key("of Mg (hcp)"), legal_key("../a//b/")
    ('of Mg _hcp_', 'a/b')
    """
    kept = re.sub(r"[^\w\-. :/]", "_", name)[:_MAX_KEY]
    return posixpath.normpath(f"/{kept}").strip("/") or "_"


def _text(value: object) -> str:
    text = without_secrets(str(value))
    return text if len(text) <= _MAX_VALUE else text[: _MAX_VALUE - 1] + "…"


def _now() -> int:
    return int(time.time() * 1000)


def _check_sqlite(uri: str) -> None:
    """Raise OSError if the database is locked or cannot be written, which MLflow notices only after many retries."""
    path = database_file(uri)
    if path is None:
        return
    try:
        with closing(sqlite3.connect(path, timeout=5.0)) as database:
            database.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        raise OSError(f"cannot write {path}: {error}") from error
