"""Making batches ready while a step computes."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Made = TypeVar("Made")


@contextmanager
def prefetched(make: Callable[[Item], Made], items: Sequence[Item], ahead: int) -> Iterator[Iterator[Made]]:
    """What `make` gives for each item, in order; within the block a thread makes the next ones beforehand.

    There is one thread, which takes the items in order, so that `make` never runs twice at a time. What it raises for
    an item is raised where that item is taken. However the block is left, the thread has ended by then.

    Args:
        make: is not called in any other thread within the block.
        items: of which something is made.
        ahead: so many are made before they are asked for; 0: none, and there is no thread.
    """
    if not ahead:
        yield map(make, items)
        return
    thread = ThreadPoolExecutor(1, "prefetch", initializer=_same_gpu())
    try:
        yield _in_turn(make, items, ahead, thread)
    finally:
        thread.shutdown(wait=True, cancel_futures=True)


def _same_gpu() -> Callable[[], None]:
    """Sets the GPU of this thread in another one, where neighbours may be searched on it."""
    if not torch.cuda.is_initialized():
        return lambda: None
    gpu = torch.cuda.current_device()
    return lambda: torch.cuda.set_device(gpu)


def _in_turn(
    make: Callable[[Item], Made], items: Sequence[Item], ahead: int, thread: ThreadPoolExecutor
) -> Iterator[Made]:
    waiting: deque[Future[Made]] = deque(thread.submit(make, item) for item in items[:ahead])
    for item in items[ahead:]:
        made = waiting.popleft().result()
        waiting.append(thread.submit(make, item))
        yield made
    while waiting:
        yield waiting.popleft().result()
