"""The interface of a tracker, and the tracker that keeps nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from esen.errors import typed_line

Status = Literal["FINISHED", "FAILED", "KILLED"]


class Tracker:
    """Takes what a run reports. This base class discards it. A run is kept from its first parameter or metric on.

    No method raises, and only `close` and `answered` wait for a disk or a server.

    Attributes:
        run_id: identifier of the run in the store, with which a later run can continue it; None until a store has
            accepted the run.
        links: web page of the run, and the command that shows it if there is no server, by what they are; empty if the
            run is not kept.
        place: address of the store, without a password, and the name of the experiment.
    """

    run_id: str | None = None

    @property
    def links(self) -> dict[str, str]:
        """See the class."""
        return {}

    @property
    def place(self) -> dict[str, str]:
        """See the class."""
        return {}

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

    def sibling(self, name: str) -> "Tracker":
        """Return a tracker for a run of its own beside this one. The caller closes it."""
        return NullTracker()

    def of(self, potential: str) -> "Tracker":
        """Return the tracker of one potential, by label, of a test of several."""
        return self

    def answered(self, seconds: float) -> bool:
        """Wait until the store has accepted the run or has failed to, and return whether it has.

        Args:
            seconds: longest time to wait.
        """
        return True

    def close(self, status: Status = "FINISHED") -> None:
        """Send what is left and record how the run ended. A second call has no effect."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Close with FINISHED, with KILLED after Ctrl-C, or with FAILED and the tag `error` after another exception."""
        if error is None:
            self.close("FINISHED")
        elif isinstance(error, KeyboardInterrupt):
            self.close("KILLED")
        else:
            self.tags({"error": typed_line(error)})
            self.close("FAILED")


class NullTracker(Tracker):
    """A tracker that keeps nothing."""
