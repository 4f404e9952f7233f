"""The processes that torchrun started: they share the jobs of a run, each taking the next one when it is free."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import uuid4

from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from esen.errors import InputError

Job = TypeVar("Job")

_MANY_SECONDS = 300


@dataclass(frozen=True, eq=False)
class Processes:
    """The processes of a run, as one of them sees them.

    Attributes:
        rank: of this process, from 0; the first one writes tables, shows progress and tracks.
        size: number of processes.
        store: key-value store of torch through which they communicate; None if this process is alone.
    """

    rank: int = 0
    size: int = 1
    store: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this process writes the common files."""
        return self.rank == 0

    def first_says(self, key: str, make: Callable[[], str]) -> str:
        """Return what `make` returns in the first process; the other processes wait for it.

        Args:
            key: names the value; unique in a run.
            make: called by the first process only.
        """
        if self.store is None:
            return make()
        if self.is_first:
            self.store.set(key, made := make())
            return made
        while not self.store.check([key]):
            time.sleep(0.05)
        return str(self.store.get(key).decode())

    def take(self, jobs: Sequence[Job]) -> Iterator[tuple[int, Job]]:
        """Yield the jobs that this process takes, with their indices. All processes pass the same list."""
        if self.store is None:
            yield from enumerate(jobs)
            return
        while (number := self.store.add("taken", 1) - 1) < len(jobs):
            yield number, jobs[number]

    def wait_for_all(self) -> None:
        """Wait in the first process until all processes have called this; the others return at once."""
        if self.store is None:
            return
        self.store.add("ended", 1)
        while self.is_first and self.store.add("ended", 0) < self.size:
            time.sleep(0.1)


ALONE = Processes()


@contextmanager
def torchrun_processes() -> Iterator[Processes]:
    """Give the processes of a run under torchrun; without torchrun this process is alone.

    No process group is made, because only counters and short texts are exchanged.

    Raises:
        InputError: the other processes cannot be reached.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    try:
        store, rank, size = next(rendezvous("env://"))
    except (RuntimeError, ValueError) as error:
        raise InputError(f"torchrun: the processes did not find each other: {error}") from error
    processes = Processes(rank, size, PrefixStore(_agreed_start(store, rank, size), store))
    yield processes
    # The store may live in the first process, which therefore waits until the others have read it for the last time.
    processes.store.add("left", 1)
    until = time.monotonic() + _MANY_SECONDS
    while processes.is_first and processes.store.add("left", 0) < size and time.monotonic() < until:
        time.sleep(0.05)


def _agreed_start(store: Any, rank: int, size: int) -> str:
    """Return a name of this start of the processes, the same in all of them.

    When torchrun restarts the processes (`--max-restarts`), the store keeps the counters of the first start, which are
    wrong now. Each process therefore asks for the name with a new random word, so that it cannot take an old answer.
    """
    word = uuid4().hex
    if rank:
        store.set(f"asked/{rank}", word)
        while not store.check([f"answer/{word}"]):
            time.sleep(0.05)
        start = str(store.get(f"answer/{word}").decode())
        store.add(f"heard/{start}", 1)
        return start
    while store.add(f"heard/{word}", 0) < size - 1:
        for key in (f"asked/{other}" for other in range(1, size)):
            if store.check([key]):
                store.set(f"answer/{store.get(key).decode()}", word)
        time.sleep(0.05)
    return word
