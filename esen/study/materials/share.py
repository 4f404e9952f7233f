"""The processes that torchrun has started share out what is to be done, each taking the next when it is free."""

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
class Share:
    """This process among them.

    Attributes:
        rank: from 0; the first one writes tables, shows and tracks.
        size: how many there are; 1: this one is alone.
        store: torch's, in which they leave word for each other; None: alone.
    """

    rank: int = 0
    size: int = 1
    store: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes what is of all of them."""
        return self.rank == 0

    def first_says(self, key: str, make: Callable[[], str]) -> str:
        """What the first process makes; the others wait for it and do not make it themselves.

        Args:
            key: of this one thing in the run.
            make: called by the first process alone.
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
        """Those that fall to this process with their places, one at a time, in order; all have the same list."""
        if self.store is None:
            yield from enumerate(jobs)
            return
        while (number := self.store.add("taken", 1) - 1) < len(jobs):
            yield number, jobs[number]

    def wait_for_all(self) -> None:
        """The first process goes on when all have called this; the others at once."""
        if self.store is None:
            return
        self.store.add("ended", 1)
        while self.is_first and self.store.add("ended", 0) < self.size:
            time.sleep(0.1)


ALONE = Share()


@contextmanager
def share_of_processes() -> Iterator[Share]:
    """This process's share under torchrun; without it, everything.

    No process group is made: what is exchanged is a counter.

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
    share = Share(rank, size, PrefixStore(_agreed_start(store, rank, size), store))
    yield share
    # The store may live in the first process: it stays until the others have read their last.
    share.store.add("left", 1)
    until = time.monotonic() + _MANY_SECONDS
    while share.is_first and share.store.add("left", 0) < size and time.monotonic() < until:
        time.sleep(0.05)


def _agreed_start(store: Any, rank: int, size: int) -> str:
    """What this start of the processes is called, the same in all of them.

    When torchrun starts them again (`--max-restarts`), the store is still that of the first time: what was taken or
    ended then is not so now. Each process asks with a word of its own, made anew, so that no old answer is taken.
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
