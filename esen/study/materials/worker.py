"""A process of its own for the work, so that one material that kills it takes no other along."""

import os
import signal
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, NoReturn, Protocol, TypeVar

from esen.errors import InputError
from esen.files import Interrupted, end_with_parent, signals_interrupt
from esen.study.materials.share import Share

Job = TypeVar("Job")


class Work(Protocol[Job]):
    """What is done with each job. It is sent to another process, so it holds no potential but its name."""

    def begin(self) -> Callable[[Job], None]:
        """Load what all jobs need, and give what does one of them and leaves its records.

        What is wrong with a material is recorded. What is wrong with all of them, such as a potential that cannot be
        loaded, is an InputError.
        """

    def missing(self, job: Job) -> list[Job]:
        """The parts of a job that have no record, each as small as can be."""

    def give_up(self, job: Job, reason: str) -> None:
        """Record that a part of a job has no result."""

    def name(self, job: Job) -> str:
        """For the user."""


class WorkerLostError(Exception):
    """The process died; the message says of what."""


class Worker:
    """One process that does jobs until it is closed, or dies."""

    def __init__(self, work: Work[Any]) -> None:
        context = get_context("spawn")  # a fork would take threads' locks along, and a GPU cannot be forked
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(work, theirs), daemon=True)
        self._process.start()
        theirs.close()
        try:
            self._answer()
        except WorkerLostError as error:
            self.close()
            raise InputError(f"the potentials could not be loaded: {error}") from error

    def do(self, job: object) -> None:
        """One job.

        Raises:
            WorkerLostError: the process died of it.
            Exception: what the work raised.
        """
        try:
            self._ours.send(job)
        except ConnectionError:
            self._lost()
        self._answer()

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.join()
        self._ours.close()

    def _answer(self) -> None:
        try:
            answer = self._ours.recv()
        except (EOFError, ConnectionError):
            self._lost()
        if isinstance(answer, BaseException):
            raise answer

    def _lost(self) -> NoReturn:
        self._process.join()
        raise WorkerLostError(_cause(self._process.exitcode))


def do_jobs(
    work: Work[Job],
    jobs: Sequence[Job],
    share: Share,
    *,
    resumed_by: str,
    before: Callable[[], None] = lambda: None,
    progress: Callable[[int, str], None] = lambda number, name: None,
    isolated: bool = True,
) -> None:
    """Do this process's share of the jobs that are not recorded yet, and wait for the others.

    If more than one part is left, a process of its own does them. Where it dies, the parts of its job are done one by
    one by new ones; a part of which a process dies again is given up, and the rest goes on. As with all of
    multiprocessing, a script that calls this needs `if __name__ == "__main__":`.

    Args:
        work: what is done.
        jobs: the same in all processes.
        share: of this process.
        resumed_by: how to go on, said when the user interrupts.
        before: called by the first process alone, when the potentials are loaded and before anything is done.
        progress: called with place and name of each job that this process begins.
        isolated: False: in this process, whatever may happen to it.

    Raises:
        InputError: what is wrong with all jobs.
        Interrupted: by Ctrl-C, SIGTERM or SIGHUP. What is recorded stays.
    """
    left = sum(len(work.missing(job)) for job in jobs)
    crew = _Crew(work) if isolated and (left > 1 or share.size > 1) else _Alone(work)
    try:
        with signals_interrupt():
            if left:
                crew.begin()
            share.first_says("begun", lambda: _yes(before))
            for number, job in share.take(jobs):
                if work.missing(job):
                    progress(number, work.name(job))
                    crew.do(job)
            share.wait_for_all()
    except KeyboardInterrupt as stop:
        raise Interrupted(f"interrupted: what is recorded stays; go on with {resumed_by}") from stop
    finally:
        crew.close()


def _yes(done: Callable[[], None]) -> str:
    done()
    return "yes"


class _Alone:
    """In this process: if a single job kills it, the caller sees that."""

    def __init__(self, work: Work[Any]) -> None:
        self._work = work
        self._do: Callable[[Any], None] | None = None

    def begin(self) -> None:
        self._do = self._do or self._work.begin()

    def do(self, job: object) -> None:
        self.begin()
        assert self._do is not None
        self._do(job)

    def close(self) -> None:
        pass


class _Crew:
    """A worker, replaced when it dies."""

    def __init__(self, work: Work[Any]) -> None:
        self._work = work
        self._worker: Worker | None = None

    def begin(self) -> None:
        self._worker = self._worker or Worker(self._work)

    def do(self, job: object) -> None:
        first = self._try(job)
        if not first:
            return
        parts = self._work.missing(job)
        for part in parts:
            # Of a job of one part it is known what the process died of.
            reason = first if parts == [job] else self._try(part)
            if reason:
                self._work.give_up(part, reason)

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _try(self, job: object) -> str:
        """Why the process died; empty: it did not."""
        self.begin()
        assert self._worker is not None
        try:
            self._worker.do(job)
        except WorkerLostError as error:
            self.close()
            return str(error)
        return ""


def _serve(work: Work[Any], theirs: Connection) -> None:
    end_with_parent()
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
            do(job)
        except Exception as error:
            theirs.send(_sendable(error))
        else:
            theirs.send(None)


def _sendable(error: Exception) -> Exception:
    """A mistake of the user as it is; of a defect its traceback, which a process cannot send otherwise."""
    return error if isinstance(error, InputError) else RuntimeError(traceback.format_exc())


def _take_gpu() -> None:
    """Under torchrun each process of a node has its own."""
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
