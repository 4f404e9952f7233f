"""Number of CPU threads of PyTorch on a machine that other programs use too.

PyTorch divides every operation among its threads, which wait for each other at its end. If another program occupies the
core of one of them, all wait until the system gives that thread its turn, thousands of times per training step: on two
cores of which one is busy, a step with two threads takes ten times as long as with one. So the number of threads has to
follow the number of cores that are free.
"""

import math
import os
import time
from collections.abc import Callable
from functools import cache
from typing import Any

_FIXED = "OMP_NUM_THREADS"
_WINDOW = 0.25
"""Seconds over which the load is measured at least; the system counts in steps of up to 0.01 s."""
_TOLERANCE = 0.25
"""Part of a core that other programs may use without counting as one core."""
_PATIENCE, _MOST_PATIENCE = 2.0, 120.0
"""Seconds for which cores must have been free before more threads are used, at first and at most."""

Usage = Callable[[], tuple[float, float]]
"""Returns the CPU seconds that all programs have used on the cores of this process, and those of this process."""


def _silent(line: str) -> None:
    """Say nothing."""


class SharedCores:
    """Adapts the number of threads of PyTorch in the calling thread to the cores that other programs leave free.

    `update` is called between steps. With c cores of which other programs use u on average over at least 0.25 s, the
    number of threads is ⌊c − u + 0.25⌋, at least one and at most the number that PyTorch takes by itself. It is lowered
    at once, and raised when the cores have been free for two seconds; this time doubles, up to two minutes, if they are
    taken again soon. The results of a step depend on the number of threads by rounding alone.

    Attributes:
        is_fixed: Whether the number never changes, because OMP_NUM_THREADS is set or PyTorch takes one thread anyway.

    Args:
        say: Is called with one line at each change.
        usage: Measures the load.
        clock: Time in seconds.
    """

    def __init__(
        self,
        say: Callable[[str], None] = _silent,
        *,
        usage: Usage | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say, self._clock = say, clock
        self._usage = usage or _usage
        self._cores = len(_cores())
        self._most = _usual_threads()
        self.is_fixed = _FIXED in os.environ or self._most == 1
        self._patience = _PATIENCE
        self._free_since: float | None = None
        self._raised = -math.inf
        self._before = (clock(), *self._usage())

    def start(self) -> None:
        """Choose the number of threads before the first step, by the load since this object was made."""
        self._free_since = -math.inf
        while not self.is_fixed and self._clock() - self._before[0] < _WINDOW:
            time.sleep(_WINDOW / 5)
        self.update()

    def update(self, *_: Any) -> None:
        """Measure the load, and change the number of threads if it does not fit."""
        now = self._clock()
        if self.is_fixed or now - self._before[0] < _WINDOW:
            return
        import torch

        then, busy_then, own_then = self._before
        busy, own = self._usage()
        self._before = now, busy, own
        others = (busy - busy_then - (own - own_then)) / (now - then)
        fitting = min(max(math.floor(self._cores - others + _TOLERANCE), 1), self._most)
        count = torch.get_num_threads()
        if fitting < count:
            soon = now - self._raised < 10 * self._patience
            self._patience = min(2 * self._patience, _MOST_PATIENCE) if soon else _PATIENCE
            self._change(fitting, "other programs use the cores")
        if fitting <= count:
            self._free_since = None
            return
        if self._free_since is None:
            self._free_since = then
        if now - self._free_since >= self._patience:
            self._raised = now
            self._change(fitting, "cores are free")

    def _change(self, count: int, why: str) -> None:
        import torch

        torch.set_num_threads(count)
        self._say(f"from now on {thread_choice('cpu')}: {why}")


@cache
def _usual_threads() -> int:
    """Return the number of threads that PyTorch takes by itself, before the first object changes it."""
    import torch

    return torch.get_num_threads()


def use_threads(count: int) -> None:
    """Let PyTorch use `count` threads in this process and in those that it starts, whatever other programs do."""
    import torch

    os.environ[_FIXED] = str(count)
    torch.set_num_threads(count)


def thread_choice(device: str) -> str:
    """Say how many threads there are, and how their number can be fixed if it is adapted on this type of device."""
    import torch

    count = torch.get_num_threads()
    words = "1 thread" if count == 1 else f"{count} threads"
    adapted = device == "cpu" and _FIXED not in os.environ
    return f"{words} (--threads N fixes the number)" if adapted else words


def _cores() -> list[int]:
    """Return the indices of the cores on which this process may run."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _usage() -> tuple[float, float]:
    import psutil

    times, busy = psutil.cpu_times(percpu=True), 0.0
    for core in _cores():
        if core < len(times):  # a core can be taken offline
            spent = times[core]._asdict()
            busy += sum(
                spent.get(kind, 0.0) for kind in ("user", "nice", "system", "irq", "softirq", "steal")
            )
    return busy, time.process_time()


__all__ = ["SharedCores", "thread_choice", "use_threads"]
