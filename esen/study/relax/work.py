"""Some structures with one potential: what is computed, and the records that it leaves."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from esen.data.checks import check_known
from esen.data.structure import Structure
from esen.errors import InputError
from esen.evaluate.relax import Relaxed, RelaxSpec, relax
from esen.evaluate.together import together
from esen.graph.batch import pack_batches
from esen.graph.types import Potential
from esen.md.calculator import EsenCalculator
from esen.study.materials.failures import reason_of
from esen.study.materials.records import read_record, write_record
from esen.study.potentials import PotentialOptions, Resolved, file_name, is_checkpoint, resolve_potential
from esen.study.relax.choose import Input
from esen.study.relax.record import Record, failed, record_of

_BUDGETS = 4
"""As many batches are worth of structures make a job: what starts takes the place of what ends."""

Job = tuple[Input, ...]
"""Structures that are given to the potential together."""


def make_jobs(inputs: Sequence[Input], potential: str, *, batch_atoms: int, processes: int) -> list[Job]:
    """The structures in order: for a checkpoint several times what goes into a batch, otherwise one a job.

    Args:
        inputs: all structures.
        potential: as the user gave it.
        batch_atoms: of the batches.
        processes: that share the jobs; none of them shall be without.
    """
    if not is_checkpoint(potential):
        return [(one,) for one in inputs]
    sizes = [len(one.structure) for one in inputs]
    atoms = max(1, min(_BUDGETS * batch_atoms, -(-sum(sizes) // processes)))
    packed = pack_batches(sizes, atoms=atoms, structures=None, order=range(len(sizes)))
    return [tuple(inputs[index] for index in batch) for batch in packed]


@dataclass(frozen=True, eq=False)
class RelaxWork:
    """All that is to be known to do a job in any process.

    Attributes:
        potential: as the user gave it.
        how: of `resolve_potential`.
        spec: of all structures.
        batch_atoms: structures go together up to so many atoms.
        folder: of the records.
    """

    potential: str
    how: PotentialOptions
    spec: RelaxSpec
    batch_atoms: int
    folder: Path

    def begin(self) -> Callable[[Job], None]:
        """Load the potential."""
        resolved = resolve_potential(self.potential, **self.how)
        return partial(self._do, resolved)

    def missing(self, job: Job) -> list[Job]:
        """Those without a record, one by one."""
        return [(one,) for one in job if not self.path(one).exists()]

    def give_up(self, job: Job, reason: str) -> None:
        """Record that the process died."""
        for (one,) in self.missing(job):
            self._write(failed(one, reason), one)

    def name(self, job: Job) -> str:
        """The first, and how many more."""
        more = len(self.missing(job)) - 1
        return f"{job[0].name} and {more} more" if more > 0 else job[0].name

    def path(self, one: Input) -> Path:
        """Of a record."""
        return self.folder / f"{file_name(one.name)}.json"

    def record(self, one: Input) -> Record:
        """What is recorded."""
        return read_record(self.path(one), Record)

    def _do(self, resolved: Resolved, job: Job) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of ASE and SciPy, of steps that are too large: seen in the result
            known = []
            for (one,) in self.missing(job):
                try:
                    check_known(one.structure, resolved.possible_elements)
                    known.append(one)
                except InputError as error:
                    self._write(failed(one, str(error)), one)
            if resolved.calculator is None:
                self._batched(resolved, known)
                return
            for one in known:
                self._keep(resolved, one, self._alone(resolved, one))

    def _alone(self, resolved: Resolved, one: Input) -> Relaxed | Exception:
        try:
            return relax(one.structure, resolved.calculator, self.spec)
        except Exception as error:  # of spglib, or a defect: the rest is to go on
            return error

    def _batched(self, resolved: Resolved, inputs: Sequence[Input]) -> None:
        def procedure(structure: Structure, shared: Potential) -> Relaxed:
            return relax(structure, EsenCalculator(shared), self.spec)

        together(
            [partial(procedure, one.structure) for one in inputs],
            resolved.potential,
            sizes=[len(one.structure) for one in inputs],
            budget=self.batch_atoms,
            device=resolved.device,
            ended=lambda index, outcome: self._keep(resolved, inputs[index], outcome),
        )

    def _keep(self, resolved: Resolved, one: Input, outcome: Relaxed | Exception) -> None:
        if isinstance(outcome, Exception):
            record = failed(one, reason_of(outcome, self.path(one).with_suffix(".traceback.txt")))
        else:
            record = record_of(one, outcome, direct=resolved.direct)
        self._write(record, one)

    def _write(self, record: Record, one: Input) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_record(self.path(one), record)
