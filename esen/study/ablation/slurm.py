"""Slurm: one job of an array per variant and seed, submitted by submitit.

A job computes its cells one after the other, as the local queue does. When its time is over, Slurm sends SIGUSR2; the
running cell saves its state, and submitit queues the job again, which resumes. What submitit itself keeps, its pickled
jobs among it, is in `slurm/` of the study's folder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from esen.errors import InputError, typed_line
from esen.files import StopSignal, read_json, write_json
from esen.recipe.study import SlurmSpec
from esen.study.ablation.cells import RECORD, Cell, Record
from esen.study.ablation.local import LocalQueue, Runner, Slots, visible_gpus

FOLDER = "slurm"
_JOBS = "jobs.json"
_WAITING = ("PENDING", "RUNNING", "REQUEUED", "SUSPENDED", "COMPLETING", "CONFIGURING", "READY")
_SAVE_SECONDS = 120
"""Time before its end at which a job is told to save its state."""

Chain = tuple[str, str, int]
"""System, variant and seed, whose cells are one job."""


@dataclass(frozen=True)
class StudyJob:
    """The cells of one variant and seed, as a job of Slurm.

    Attributes:
        cells: to compute, the training first if it is one of them.
        known: records of the others, by cell.
        runner: runs a command of esen.
        threads: CPU threads.
        environment: variables of the cells.
        retry: whether a command goes on with a cell that failed, and computes its failed items again.
    """

    cells: tuple[Cell, ...]
    known: Mapping[Cell, Record]
    runner: Runner
    threads: int
    environment: Mapping[str, str] = field(default_factory=dict)
    retry: bool = False

    def __call__(self) -> dict[str, str]:
        """Compute the cells, and return how they ended, by name."""
        gpus = visible_gpus()
        slots = Slots((gpus[0] if gpus else None,), self.threads)
        shown = _Log()
        queue = LocalQueue(self.runner, slots, shown, self.environment, self.retry)
        ended = {cell: record for cell in self.cells if (record := cell.record()) is not None}
        final = {cell: record for cell, record in ended.items() if record.is_final(retry=False)}
        left = [cell for cell in self.cells if cell not in final]
        queue.run(left, dict(self.known) | final, StopSignal())  # which is never raised outside its block
        return shown.ended_as

    def checkpoint(self, *_: Any) -> Any:
        """Return the job to queue again when its time is over. A cell that was begun resumes."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def submit(spec: SlurmSpec, name: str, output: Path, jobs: Mapping[Chain, StudyJob]) -> dict[str, Chain]:
    """Submit jobs that are not queued yet as one array.

    Args:
        spec: of the study.
        name: of the study.
        output: its folder.
        jobs: by system, variant and seed.

    Returns:
        Job identifiers of the new jobs and of those that were queued by an earlier call, with what they compute.

    Raises:
        InputError: submitit is not installed, this is no machine of a Slurm cluster, or Slurm refuses the jobs.
    """
    folder = output.absolute() / FOLDER
    submitit = _submitit()
    queued = queued_jobs(output)
    new = {chain: job for chain, job in jobs.items() if chain not in queued.values()}
    if new:
        executor = _executor(submitit, spec, name, folder)
        for job in new.values():
            for cell in job.cells:  # a failed one is computed again
                (cell.folder / RECORD).unlink(missing_ok=True)
        try:
            with executor.batch():
                made = [executor.submit(job) for job in new.values()]
        except Exception as error:  # what sbatch says has no type of its own
            raise InputError(f"launch: Slurm refuses the jobs: {typed_line(error)}") from error
        queued |= {str(job.job_id): chain for job, chain in zip(made, new, strict=True)}
        write_json(folder / _JOBS, _submitted(folder) | queued)
    return queued


def queued_jobs(output: Path) -> dict[str, Chain]:
    """Return the jobs of a study that wait or run, with what they compute.

    Raises:
        InputError: submitit is not installed.
    """
    folder, submitit = output.absolute() / FOLDER, _submitit()
    return {job: chain for job, chain in _submitted(folder).items() if _is_queued(submitit, folder, job)}


def _executor(submitit: Any, spec: SlurmSpec, name: str, folder: Path) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=spec.requeues)
    except RuntimeError as error:
        raise InputError(
            f"launch.kind: slurm, but {typed_line(error)}; call it where sbatch and srun are, or use kind: local"
        ) from error
    executor.update_parameters(
        job_name=f"esen-{name}",
        time=spec.timeout_minutes,
        nodes=1,
        ntasks_per_node=1,
        cpus_per_task=spec.cpus_per_task,
        array_parallelism=spec.array_parallelism,
        signal_delay_s=_SAVE_SECONDS,
        **({"gpus_per_node": spec.gpus_per_node} if spec.gpus_per_node else {}),
        **{
            key: value
            for key in ("partition", "account", "qos", "constraint")
            if (value := getattr(spec, key)) is not None
        },
        **({"mem": spec.memory} if spec.memory else {}),
        **({"setup": list(spec.setup)} if spec.setup else {}),
    )
    return executor


def _submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        raise InputError(
            'launch.kind: slurm needs submitit, which is not installed: pip install "esen[slurm]"'
        ) from error
    return submitit


def _submitted(folder: Path) -> dict[str, Chain]:
    """What earlier calls have submitted, by job."""
    if not (folder / _JOBS).exists():
        return {}
    found = read_json(folder / _JOBS, "remove it to submit the jobs again")
    return {job: (str(chain[0]), str(chain[1]), int(chain[2])) for job, chain in found.items()}


def _is_queued(submitit: Any, folder: Path, job: str) -> bool:
    """Whether a job waits or runs, as far as Slurm tells. Two jobs of the same cells wait for each other's locks."""
    try:
        return str(submitit.SlurmJob(folder=folder, job_id=job).state).startswith(_WAITING)
    except Exception:  # no sacct, or an answer that submitit does not understand
        return False


class _Log:
    """Keeps how cells ended, for the log of the job."""

    def __init__(self) -> None:
        self.ended_as: dict[str, str] = {}

    def started(self, cell: Cell) -> None:
        """See `Watcher`."""

    def ended(self, cell: Cell, record: Record) -> None:
        """See `Watcher`."""
        self.ended_as[cell.name] = record.failure or record.state

    def skipped(self, cell: Cell) -> None:
        """See `Watcher`."""
        self.ended_as[cell.name] = "left out, because its training failed"

    def tick(self, running: Sequence[Cell]) -> None:
        """See `Watcher`."""
