"""Worker processes: an item that kills its worker is recorded as failed, and the other items go on."""

import os
import signal
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, NoReturn, Protocol, TypeVar

from esen.errors import InputError
from esen.evaluate.model import Progress, no_progress
from esen.files import Interrupted, end_with_parent, signals_ignored, signals_interrupt
from esen.study.processes import Processes
from esen.terminal import prepare_streams

Job = TypeVar("Job")


class Work(Protocol[Job]):
    """What is done with each job. It is pickled for the worker, so it names its potentials but does not hold them."""

    def begin(self) -> Callable[[Job, Progress], None]:
        """Load what all jobs need, and return the function that does one job and writes its records.

        An error of one item is recorded. An error that concerns all items, such as a potential that cannot be loaded,
        is raised as InputError.
        """

    def missing(self, job: Job) -> list[Job]:
        """Return the parts of a job that have no record, each as small as possible."""

    def give_up(self, job: Job, reason: str) -> None:
        """Record that a part of a job has no result."""

    def name(self, job: Job) -> str:
        """Return what the user sees of a job while it is done."""


class WorkerLostError(Exception):
    """The worker died; the message says why."""


class Worker:
    """One process that does jobs until it is closed or dies."""

    def __init__(self, work: Work[Any]) -> None:
        context = get_context("spawn")  # a fork would take threads' locks along, and a GPU cannot be forked
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(work, theirs), daemon=True)
        with signals_ignored():  # the worker inherits this: Ctrl-C is for its parent, also while it imports
            self._process.start()
        theirs.close()
        try:
            self._receive()
        except WorkerLostError as error:
            self.close()
            raise InputError(f"the potentials could not be loaded: {error}") from error

    def do(self, job: object, progress: Progress) -> None:
        """Do one job.

        Raises:
            WorkerLostError: the process died.
            Exception: what the work raised.
        """
        try:
            self._ours.send(job)
        except ConnectionError:
            self._lost()
        while isinstance(step := self._receive(), tuple):
            progress(*step)

    def close(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.join()
        self._ours.close()

    def _receive(self) -> tuple[int, int] | None:
        """Receive a step of the progress, or None at the end of a job."""
        try:
            answer: tuple[int, int] | BaseException | None = self._ours.recv()
        except (EOFError, ConnectionError):
            self._lost()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _lost(self) -> NoReturn:
        self._process.join()
        raise WorkerLostError(_cause(self._process.exitcode))


def do_jobs(
    work: Work[Job],
    jobs: Sequence[Job],
    processes: Processes,
    *,
    resumed_by: str,
    before: Callable[[], None] = lambda: None,
    begun: Callable[[int, str], Progress] = lambda number, name: no_progress,
    isolated: bool = True,
    again: int = 0,
) -> None:
    """Do the jobs that fall to this process and have no record yet, and wait for the other processes.

    If more than one part is left, a worker process does them. When it dies, new workers do the parts of its job one by
    one; a part that kills its worker again is given up, and the rest goes on. As with all of multiprocessing, a script
    that calls this needs `if __name__ == "__main__":`.

    Args:
        work: what is done.
        jobs: the same in all processes.
        processes: of the run.
        resumed_by: how to resume, said when the user interrupts.
        before: called by the first process only, after the potentials are loaded and before the first job.
        begun: called with index and name of each job that this process begins; returns what is called as it proceeds.
        isolated: whether a worker process is used; otherwise this process does all jobs.
        again: number of parts whose records of failures are removed by `before`, so that they are missing then.

    Raises:
        InputError: an error that concerns all jobs.
        Interrupted: by Ctrl-C, SIGTERM or SIGHUP. What is recorded stays.
    """
    left = again + sum(len(work.missing(job)) for job in jobs)
    crew = _Workers(work) if isolated and (left > 1 or processes.size > 1) else _InPlace(work)
    try:
        with signals_interrupt():
            if left:
                crew.begin()
            processes.first_says("begun", lambda: _yes(before))
            for number, job in processes.take(jobs):
                if work.missing(job):
                    crew.do(job, begun(number, work.name(job)))
            processes.wait_for_all()
    except KeyboardInterrupt as stop:
        raise Interrupted(f"interrupted: what is recorded is kept; resume with {resumed_by}") from stop
    finally:
        crew.close()


def _yes(done: Callable[[], None]) -> str:
    done()
    return "yes"


class _InPlace:
    """Does jobs in this process; if a single job kills it, the caller sees that."""

    def __init__(self, work: Work[Any]) -> None:
        self._work = work
        self._do: Callable[[Any, Progress], None] | None = None

    def begin(self) -> None:
        self._do = self._do or self._work.begin()

    def do(self, job: object, progress: Progress) -> None:
        self.begin()
        assert self._do is not None
        self._do(job, progress)

    def close(self) -> None:
        pass


class _Workers:
    """Does jobs in one worker at a time, which is replaced when it dies."""

    def __init__(self, work: Work[Any]) -> None:
        self._work = work
        self._worker: Worker | None = None

    def begin(self) -> None:
        self._worker = self._worker or Worker(self._work)

    def do(self, job: object, progress: Progress) -> None:
        first = self._try(job, progress)
        if not first:
            return
        parts = self._work.missing(job)
        for part in parts:
            # A job of a single part need not be tried again: it is known what killed the worker.
            reason = first if parts == [job] else self._try(part, progress)
            if reason:
                self._work.give_up(part, reason)

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _try(self, job: object, progress: Progress) -> str:
        """Do a job, and return why the worker died; an empty string if it did not."""
        self.begin()
        assert self._worker is not None
        try:
            self._worker.do(job, progress)
        except WorkerLostError as error:
            self.close()
            return str(error)
        return ""


def _serve(work: Work[Any], theirs: Connection) -> None:
    end_with_parent()
    prepare_streams()
    _take_gpu()
    try:
        do = work.begin()
    except Exception as error:
        theirs.send(_sendable(error))
        return
    theirs.send(None)
    while True:
        try:
            job = theirs.recv()
        except EOFError:
            return
        try:
            do(job, lambda done, total: theirs.send((done, total)))
        except Exception as error:
            theirs.send(_sendable(error))
        else:
            theirs.send(None)


def _sendable(error: Exception) -> Exception:
    """Return an error that the user can mend as it is, and a defect as its traceback, which can always be sent."""
    if isinstance(error, OSError):
        return OSError(error.errno, error.strerror, error.filename)
    return error if isinstance(error, InputError) else RuntimeError(traceback.format_exc())


def _take_gpu() -> None:
    """Choose the GPU of this process under torchrun, one per process of a node."""
    import torch

    if torch.cuda.is_available() and "LOCAL_RANK" in os.environ:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())


def _cause(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        try:
            name = signal.Signals(-exitcode).name
        except ValueError:
            name = f"signal {-exitcode}"
        hint = ", perhaps because memory ran out" if name == "SIGKILL" else ""
        return f"its process was killed by {name}{hint}"
    return f"its process ended with exit code {exitcode}"
