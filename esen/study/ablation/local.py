"""The local queue: cells in processes of their own, as many at a time as the machine has GPUs or cores for."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context, resource_tracker
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

import psutil

from esen.files import STOPPING, StopSignal, signals_blocked, signals_ignored
from esen.recipe.study import LocalSpec
from esen.study.ablation.cells import Cell, Record, exit_reason, run_in_process

_POLL_SECONDS = 0.05
_PRELOADED = ("train", "mae", "check", "drift", "relax", "plots.style", "report")
_CELL_BYTES = 2e9
"""Memory that a cell is expected to need, for the number of cells at a time."""
_GRACE_SECONDS = 60.0
"""Time that a cell has to save its state after SIGTERM."""


Runner = Callable[[Sequence[str]], int]
"""Runs a command of esen and returns its exit code; a function of a module, since it is sent to processes."""


@dataclass(frozen=True)
class Slots:
    """Where cells run at a time.

    Attributes:
        devices: one entry per cell that runs at a time: the GPU that it sees, or None.
        threads: CPU threads per cell.
    """

    devices: tuple[str | None, ...]
    threads: int

    @property
    def text(self) -> str:
        """What a user sees of it."""
        gpus = sum(device is not None for device in self.devices)
        place = f"{gpus} GPU{'s' * (gpus > 1)}" if gpus else "the CPU"
        count = len(self.devices)
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        return f"{count} cell{'s' * (count > 1)} at a time on {place}, {threads} each"


def choose_slots(spec: LocalSpec, device: str) -> Slots:
    """Decide how many cells run at a time: one per visible GPU, or else as many as cores and memory allow.

    Args:
        spec: of the study.
        device: `auto`, `cpu` or `cuda`.
    """
    gpus = [] if device == "cpu" else visible_gpus()
    if spec.jobs != "auto":
        count = spec.jobs
    elif gpus:
        count = len(gpus)
    else:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        memory = int(psutil.virtual_memory().available // _CELL_BYTES)
        count = max(1, min(cores // spec.threads, memory))
    return Slots(tuple(gpus[i % len(gpus)] if gpus else None for i in range(count)), spec.threads)


def visible_gpus() -> list[str]:
    """Return the GPUs that this process sees, as `CUDA_VISIBLE_DEVICES` names them."""
    import torch

    count = torch.cuda.device_count()
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [name.strip() for name in given.split(",")] if given else [str(i) for i in range(count)]
    return names[:count]


class Watcher(Protocol):
    """Is told what happens to the cells."""

    def started(self, cell: Cell) -> None:
        """A cell starts."""

    def ended(self, cell: Cell, record: Record) -> None:
        """A cell has ended."""

    def skipped(self, cell: Cell) -> None:
        """A cell cannot start, because its training failed."""

    def tick(self, running: Sequence[Cell]) -> None:
        """Some time has passed."""


@dataclass
class LocalQueue:
    """Runs cells, tests of finished trainings first. A cell that fails does not stop the others.

    Attributes:
        runner: runs a command of esen.
        slots: where cells run.
        watcher: is told what happens.
        environment: variables of the cells.
        retry: whether cells that failed are computed again.
    """

    runner: Runner
    slots: Slots
    watcher: Watcher
    environment: Mapping[str, str] = field(default_factory=dict)
    retry: bool = False

    def run(self, cells: Sequence[Cell], known: Mapping[Cell, Record], stop: StopSignal) -> None:
        """Run cells until all have ended or the user stops the study.

        Args:
            cells: that have no record yet.
            known: records of the other cells, by cell.
            stop: when it is raised, the running cells save their state and end.
        """
        waiting = list(cells)
        trained = {str(cell.folder): record for cell, record in known.items() if cell.is_training}
        mine = {str(cell.folder) for cell in cells if cell.is_training}
        running: dict[int, tuple[Cell, BaseProcess, float]] = {}
        try:
            while (waiting or running) and not stop.raised:
                for cell in [c for c in waiting if self._is_hopeless(c, trained, mine)]:
                    waiting.remove(cell)
                    self.watcher.skipped(cell)
                for slot in (i for i in range(len(self.slots.devices)) if i not in running):
                    ready = [c for c in waiting if c.is_training or c.potential in trained]
                    ready.sort(key=lambda c: c.is_training)  # stable: tests first, then by seed
                    if ready:
                        waiting.remove(ready[0])
                        self.watcher.started(ready[0])
                        running[slot] = (ready[0], self._start(ready[0], slot), time.monotonic())
                for slot, (cell, process, since) in list(running.items()):
                    if process.exitcode is None:
                        continue
                    del running[slot]
                    record = cell.record() or cell.ended(
                        cell.argv(), exit_reason(process.exitcode), None, time.monotonic() - since
                    )
                    if cell.is_training:
                        trained[str(cell.folder)] = record
                    self.watcher.ended(cell, record)
                self.watcher.tick([cell for cell, _, _ in running.values()])
                time.sleep(_POLL_SECONDS)
        finally:
            _end([process for _, process, _ in running.values()])

    def _is_hopeless(self, cell: Cell, trained: Mapping[str, Record], mine: set[str]) -> bool:
        """Whether the training of a test has failed, or is no part of this study."""
        if cell.is_training:
            return False
        record = trained.get(cell.potential)
        return record.state == "failed" if record else cell.potential not in mine

    def _start(self, cell: Cell, slot: int) -> BaseProcess:
        gpu = self.slots.devices[slot]
        changes = dict(self.environment) | {"OMP_NUM_THREADS": str(self.slots.threads)}
        if gpu is not None:
            changes["CUDA_VISIBLE_DEVICES"] = gpu
        arguments = (cell, self.runner, self.retry, changes)
        process: BaseProcess = _context().Process(target=run_in_process, args=arguments, name=cell.name)
        # Ctrl-C is for this process, also while the cell imports, and so is the signal before the time limit of Slurm.
        # SIGTERM to all processes must not end the server of forks, by which this one knows that a cell has ended.
        resource_tracker.ensure_running()  # which would unblock SIGTERM
        with _environment(changes), signals_ignored(), signals_blocked("SIGUSR2", *STOPPING):
            process.start()
        return process


@cache
def _context() -> Any:
    """How processes are started: on Linux as forks of a server that has imported torch and has used nothing of it.

    The imports take longer than many a test. The study itself cannot be forked, because a fork would take along the
    locks of its threads, and the state of a GPU.
    """
    if sys.platform != "linux":
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([f"esen.study.{name}" for name in _PRELOADED])
    return context


def _end(processes: Sequence[BaseProcess]) -> None:
    """Let processes save their state and end; those that do not are killed."""
    for process in processes:
        process.terminate()
    limit = time.monotonic() + _GRACE_SECONDS
    try:
        for process in processes:
            process.join(max(0.0, limit - time.monotonic()))
    finally:  # also if the user repeats the signal
        for process in processes:
            if process.exitcode is None:
                process.kill()
                process.join()


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Change environment variables, which a process that is started within the block inherits."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
