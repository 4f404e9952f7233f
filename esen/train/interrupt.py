"""Stopping in good order."""

import math
import signal
import threading
import time
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
        grace: signals within so many seconds of the first are that one, heard twice: torchrun passes on what the
            terminal has sent already.
    """

    def __init__(self, tell: Callable[[], None] | None = None, *, grace: float = 0.0) -> None:
        self.raised = False
        self._grace = grace
        self._heard_at = -math.inf
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
        if self.raised and time.monotonic() - self._heard_at >= self._grace:
            raise KeyboardInterrupt
        if self.raised:
            return
        self.raised, self._heard_at = True, time.monotonic()
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
