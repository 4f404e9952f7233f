"""The whole of `esen relax`: every structure with one potential, one record after the other."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from esen.evaluate.relax import RelaxSpec
from esen.study.materials.run import run_materials
from esen.study.materials.share import ALONE, Share
from esen.study.potentials import PotentialOptions, described_potentials, file_name, is_checkpoint
from esen.study.relax.choose import Input
from esen.study.relax.files import write_results
from esen.study.relax.record import Record
from esen.study.relax.rows import Row, lines_of, rows_of
from esen.study.relax.work import RelaxWork, make_jobs
from esen.track import Tracker


@dataclass(frozen=True)
class RelaxOptions:
    """What the user chooses, beside the potential, the structures and how they are relaxed.

    Attributes:
        batch_atoms: structures go together up to so many atoms; not for ASE calculators.
        retry: whether structures that failed are computed anew.
        isolated: whether several structures are computed by a process of its own, so that one that kills it takes no
            other along.
    """

    batch_atoms: int = 512
    retry: bool = False
    isolated: bool = True


@dataclass(frozen=True, eq=False)
class RelaxResult:
    """What was found.

    Attributes:
        rows: a row a structure; not all of very many.
        lines: what is to be known.
        paths: of the files.
        records: of all structures, in order.
        failed: whether one of them did not converge, melted, or has no result.
    """

    rows: list[Row]
    lines: list[str]
    paths: dict[str, Path]
    records: list[Record]
    failed: bool


def run_relax(
    potential: str,
    inputs: Sequence[Input],
    spec: RelaxSpec,
    options: RelaxOptions,
    *,
    output: Path,
    tracker: Tracker,
    share: Share = ALONE,
    **how: Unpack[PotentialOptions],
) -> RelaxResult | None:
    """Relax and record. What an earlier call of the same folder recorded is not computed again.

    Args:
        potential: as `resolve_potential` takes it.
        inputs: structures with names of their own.
        spec: how.
        options: of the run.
        output: folder of all files.
        tracker: of the run.
        share: of this process, under torchrun.
        **how: of `resolve_potential`; a checkpoint's dtype is float64 if none is given.

    Returns:
        None in all processes but the first.

    Raises:
        InputError: the potential cannot be used, or the folder has records of something else.
        Interrupted: by the user.
    """
    if is_checkpoint(potential):
        how["dtype"] = how.get("dtype") or "float64"
    described = described_potentials([potential], how)
    (label,) = described
    work = RelaxWork(potential, how, spec, options.batch_atoms, output / file_name(label))
    jobs = make_jobs(inputs, potential, batch_atoms=options.batch_atoms, processes=share.size)
    settings: dict[str, Any] = asdict(spec)
    run_materials(
        work,
        jobs,
        share,
        output=output,
        manifest={
            "settings": settings,
            "potentials": described,
            "structures": {one.name: one.described for one in inputs},
        },
        begun=lambda: tracker.params(settings | {"potential": described[label], "structures": len(inputs)}),
        retried=map(work.path, inputs) if options.retry else (),
        isolated=options.isolated,
    )
    if not share.is_first:
        return None
    records = [work.record(one) for one in inputs]
    paths = write_results(output, records)
    tracker.metrics(_counts(records), 0)
    for path in paths.values():
        tracker.artifact(path)
    return RelaxResult(
        rows=rows_of(records),
        lines=lines_of(records, str(paths["structure by structure"])),
        paths=paths,
        records=records,
        failed=any(record.verdict != "converged" for record in records),
    )


def _counts(records: Sequence[Record]) -> dict[str, float]:
    names = {
        "converged": "converged",
        "not converged": "not_converged",
        "melted": "melted",
        "failed": "failed",
    }
    counts = {
        name: float(sum(record.verdict == verdict for record in records)) for verdict, name in names.items()
    }
    steps = [record.steps for record in records if not record.failure]
    return counts | ({"mean_steps": float(np.mean(steps))} if steps else {})
