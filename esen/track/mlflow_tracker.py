"""MLflow behind a thread."""

import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from esen.track.mlflow_run import MlflowRun, Waiting, absolute_uri, flatten, legal_key, one_line
from esen.track.tracker import NullTracker, Status, Tracker

_FLUSH_SECONDS, _CLOSE_SECONDS = 3.0, 60.0
_RETRY_SECONDS, _MAX_RETRY_SECONDS = 10.0, 600.0

logger = logging.getLogger("esen.track")


def make_tracker(
    enabled: bool,
    uri: str | None = None,
    experiment: str = "esen",
    run_name: str = "",
    resume_id: str | None = None,
) -> Tracker:
    """A tracker that keeps the run in MLflow, or one that keeps nothing.

    Args:
        enabled: whether anything is kept.
        uri: MLflow's store or server; None: `$MLFLOW_TRACKING_URI`, else `mlflow.db` in the folder of work.
        experiment: made if it is not there.
        run_name: of a new run.
        resume_id: `run_id` of an earlier run which this one continues.
    """
    return MlflowTracker(uri, experiment, run_name, resume_id) if enabled else NullTracker()


class MlflowTracker:
    """Keeps the run in MLflow. The methods only put aside; a thread of its own sends."""

    def __init__(
        self,
        uri: str | None = None,
        experiment: str = "esen",
        run_name: str = "",
        run_id: str | None = None,
        parent: MlflowRun | None = None,
    ) -> None:
        self._run = MlflowRun(absolute_uri(uri), experiment, run_name, run_id, parent)
        self._waiting = Waiting()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._status: Status = "FINISHED"
        self._thread = threading.Thread(target=self._work, name="esen.track", daemon=True)
        self._thread.start()

    @property
    def run_id(self) -> str | None:
        """The run's id; None in the first seconds, and as long as the store cannot be reached."""
        return self._run.run_id

    @property
    def url(self) -> str | None:
        """The run's page on a server; the address of any other store."""
        return self._run.url

    def params(self, values: Mapping[str, Any]) -> None:
        """See `Tracker`."""
        with self._lock:
            self._waiting.params.update(flatten(values))

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """See `Tracker`."""
        now = int(time.time() * 1000)
        with self._lock:
            self._waiting.metrics.extend(
                (legal_key(key), float(value), now, step) for key, value in values.items()
            )

    def artifact(self, path: Path, folder: str = "") -> None:
        """See `Tracker`. Of several requests for one file the last is enough."""
        with self._lock:
            self._waiting.artifacts[Path(path).absolute(), folder] = None

    def tags(self, values: Mapping[str, str]) -> None:
        """See `Tracker`."""
        with self._lock:
            self._waiting.tags.update({legal_key(key): str(value) for key, value in values.items()})

    def child(self, name: str, resume_id: str | None = None) -> "MlflowTracker":
        """See `Tracker`."""
        return MlflowTracker(self._run.uri, self._run.experiment, name, resume_id, self._run)

    def close(self, status: Status = "FINISHED") -> None:
        """See `Tracker`. Waits at most a minute for the store."""
        if self._closing.is_set():
            return
        self._status = status
        self._closing.set()
        self._thread.join(_CLOSE_SECONDS)
        if self._thread.is_alive():
            logger.warning("tracking: the store did not take everything within %.0f s", _CLOSE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See `Tracker`."""
        if kind is None:
            self.close("FINISHED")
        else:
            self.close("KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED")

    def _work(self) -> None:
        """The thread: send every few seconds; after a failure, less often; a last time on closing."""
        wait, pause, warned = 0.0, _RETRY_SECONDS, False
        while True:
            last = self._closing.wait(wait)
            try:
                self._send(last)
                wait, pause = _FLUSH_SECONDS, _RETRY_SECONDS
            except Exception as error:  # whatever it is, it may not reach the run
                if not warned:
                    logger.warning(
                        "tracking in %s: %s; the run goes on without it", self._run.uri, one_line(error)
                    )
                warned, wait, pause = True, pause, min(2 * pause, _MAX_RETRY_SECONDS)
                last = last or self._closing.is_set()  # the run ended during the failed try: no second wait
            if last:
                return

    def _send(self, last: bool) -> None:
        self._run.connect()
        with self._lock:
            new, self._waiting = self._waiting, Waiting()
        try:
            self._run.send(new, last)
        finally:
            if last:
                self._run.finish(self._status)
