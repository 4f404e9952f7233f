"""The interface of a tracker, and the tracker that keeps nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

Status = Literal["FINISHED", "FAILED", "KILLED"]


class Tracker:
    """Takes what a run reports. This base class discards it.

    No method raises, and only `close` waits for a disk or a server.

    Attributes:
        run_id: identifier of the run in the store, with which a later run can continue it; None until a store has
            accepted the run.
        url: web page of the run, or address of the store.
    """

    run_id: str | None = None
    url: str | None = None

    def params(self, values: Mapping[str, Any]) -> None:
        """Record settings of the run. Nested values get dotted names: `train.stages.0.epochs`."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record results of the run at `step`. NaN and infinity are legal."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """Store a copy of a file under `folder`. The file is read when it is sent."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Record notes about the run."""

    def child(self, name: str, resume_id: str | None = None) -> "Tracker":
        """Return a tracker for one part of this run, which the store shows below it. The caller closes it."""
        return NullTracker()

    def close(self, status: Status = "FINISHED") -> None:
        """Send what is left and record how the run ended. A second call has no effect."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        """Close with FINISHED, with KILLED after Ctrl-C, or with FAILED after any other exception."""
        if kind is None:
            self.close("FINISHED")
        else:
            self.close("KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED")


class NullTracker(Tracker):
    """A tracker that keeps nothing."""
