"""The parts of a conversion, given to other processes."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context

from esen.data.readers.frame import Record
from esen.data.readers.reading import StressWatch
from esen.errors import InputError
from esen.files import end_with_parent

Part = list[tuple[str, Record]]
"""Records with the names of their formats."""


def converted(
    stream: Iterator[tuple[float, str, Record]],
    done: dict[int, int],
    work: Callable[[int, Part], tuple[int, StressWatch]],
    length: int,
    processes: int,
) -> Iterator[tuple[int, float, StressWatch | None]]:
    """For each part, in order: its frames, how far the input has been gone through, and what was seen of stresses.

    Parts that are `done` are gone past. With several processes, twice as many parts as processes are in memory.
    """
    parts = _parts(stream, length)
    if processes == 1:
        for number, through, part in parts:
            if number in done:
                yield done[number], through, None
            else:
                frames, watch = work(number, part)
                yield frames, through, watch
        return
    context = get_context("spawn")  # a fork would take threads' locks along
    with ProcessPoolExecutor(processes, mp_context=context, initializer=end_with_parent) as pool:
        waiting: deque[tuple[Future[tuple[int, StressWatch]] | int, float]] = deque()
        try:
            for number, through, part in parts:
                waiting.append((done[number] if number in done else pool.submit(work, number, part), through))
                while waiting and (len(waiting) >= 2 * processes or isinstance(waiting[0][0], int)):
                    yield _result(*waiting.popleft())
            while waiting:
                yield _result(*waiting.popleft())
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _result(
    job: "Future[tuple[int, StressWatch]] | int", through: float
) -> tuple[int, float, StressWatch | None]:
    if isinstance(job, int):
        return job, through, None
    try:
        frames, watch = job.result()
    except BrokenProcessPool as error:
        raise InputError(
            "a process was killed from outside, perhaps because memory ran out;"
            " go on with the same command, with fewer --processes"
        ) from error
    return frames, through, watch


def _parts(stream: Iterator[tuple[float, str, Record]], length: int) -> Iterator[tuple[int, float, Part]]:
    number = 0
    while part := list(islice(stream, length)):
        yield number, part[-1][0], [(kind, record) for _, kind, record in part]
        number += 1
