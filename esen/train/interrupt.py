"""Stopping in good order."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)  # Ctrl-C, the scheduler, a terminal that is closed (Windows has no such signal)


class Interrupted(KeyboardInterrupt):
    """The user, or a scheduler, asked the run to stop. The message says how to go on."""


class StopSignal:
    """Within its block, the first Ctrl-C, SIGTERM or SIGHUP only raises a flag; a second one interrupts at once.

    Args:
        tell: called at the first signal, to say that it was heard.
    """

    def __init__(self, tell: Callable[[], None] | None = None) -> None:
        self.raised = False
        self._tell = tell
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = _handle(self._heard)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _restore(self._before)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if self.raised:
            raise KeyboardInterrupt
        self.raised = True
        if self._tell is not None:
            self._tell()


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """Within its block SIGTERM and SIGHUP raise `KeyboardInterrupt`, as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = _handle(interrupt)
    try:
        yield
    finally:
        _restore(before)


def _handle(handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
    """Set the handler, and return the earlier ones. A signal that is ignored, as by `nohup`, stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in heard}


def _restore(before: dict[int, Any]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)
