"""What a tracker is, and the one that keeps nothing."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self, runtime_checkable

Status = Literal["FINISHED", "FAILED", "KILLED"]


@runtime_checkable
class Tracker(Protocol):
    """Takes what a run reports. No method raises, and none waits for a disk or a server, but `close`."""

    @property
    def run_id(self) -> str | None:
        """The store's name of the run, by which it can be continued; None until a store has taken it."""

    @property
    def url(self) -> str | None:
        """Where the run can be looked at: a web page, or the store's address."""

    def params(self, values: Mapping[str, Any]) -> None:
        """What the run was given. Nested values get dotted names: `train.stages.0.epochs`."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """What the run reached at `step`. NaN and infinity are legal."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """Keep a copy of a file, as it is when it is sent, under `folder`."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Words about the run."""

    def child(self, name: str, resume_id: str | None = None) -> "Tracker":
        """A tracker of a part of this run, which the store shows beneath it. It is closed for itself."""

    def close(self, status: Status = "FINISHED") -> None:
        """Send what is left, and mark the run. A second call does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close: FINISHED, KILLED on Ctrl-C, FAILED on any other exception."""


class NullTracker:
    """Keeps nothing."""

    run_id: str | None = None
    url: str | None = None

    def params(self, values: Mapping[str, Any]) -> None:
        """Nothing."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Nothing."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """Nothing."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Nothing."""

    def child(self, name: str, resume_id: str | None = None) -> "Tracker":
        """Another that keeps nothing."""
        return NullTracker()

    def close(self, status: Status = "FINISHED") -> None:
        """Nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing."""
