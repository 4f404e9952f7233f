"""The whole of `esen phonons`: every potential on every crystal, one record after the other."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from esen.evaluate.phonons.protocol import PhononProtocol
from esen.study.materials.models import REFERENCE
from esen.study.materials.run import run_materials
from esen.study.materials.share import ALONE, Share
from esen.study.phonons.choose import Input
from esen.study.phonons.files import write_tables
from esen.study.phonons.jobs import Part, PhononOptions, make_jobs
from esen.study.phonons.plots import convergence_plot, parity_plots
from esen.study.phonons.record import QUANTITIES, Record
from esen.study.phonons.rows import Row, Studies, convergence_rows, error_rows, lines_of, mean_errors, row_of
from esen.study.phonons.work import PhononWork
from esen.study.potentials import PotentialOptions, described_potentials, file_name, labelled
from esen.track import Tracker

_FEW = 3
"""Crystals whose pictures are named to the user."""
_MANY = 200
"""Crystals beyond which only means are tracked."""


@dataclass(frozen=True, eq=False)
class PhononResult:
    """What was found.

    Attributes:
        rows: a row a potential, crystal and displacement.
        error_rows: mean absolute errors against references, a row a potential.
        convergence_rows: of a study of displacements, a row a potential and crystal.
        lines: what is to be known.
        paths: of the files.
        records: by potential.
        failed: whether a crystal has no result.
    """

    rows: list[Row]
    error_rows: list[Row]
    convergence_rows: list[Row]
    lines: list[str]
    paths: dict[str, Path]
    records: dict[str, list[Record]] = field(default_factory=dict)
    failed: bool = False


def run_phonons(
    potentials: Sequence[str],
    inputs: Sequence[Input],
    protocol: PhononProtocol,
    options: PhononOptions,
    *,
    output: Path,
    tracker: Tracker,
    share: Share = ALONE,
    **how: Unpack[PotentialOptions],
) -> PhononResult | None:
    """Compute, record and compare. What an earlier call of the same folder recorded is not computed again.

    Args:
        potentials: each as `resolve_potential` takes it, or `reference`: the force sets of the input.
        inputs: crystals with names of their own.
        protocol: how.
        options: of the run.
        output: folder of all files.
        tracker: of the run.
        share: of this process, under torchrun.
        **how: of `resolve_potential`; a checkpoint's dtype is float64 if none is given.

    Returns:
        None in all processes but the first.

    Raises:
        InputError: a potential cannot be used, or the folder has records of something else.
        Interrupted: by the user.
    """
    named = labelled([text for text in potentials if text != REFERENCE])
    labels = (*named, *((REFERENCE,) if REFERENCE in potentials else ()))
    work = PhononWork(tuple(potentials), labels, how, protocol, options, output)
    jobs = make_jobs(inputs, {label: named.get(label, REFERENCE) for label in labels}, share.size)
    parts = [Part(label, one) for one in inputs for label in labels]
    wanted = {part.label for part in parts if options.retry or work.missing((part,))}
    work = replace(work, wanted=tuple(wanted))
    settings = _manifest(potentials, inputs, protocol, options, how, hashed=share.is_first)

    run_materials(
        work,
        jobs,
        share,
        output=output,
        manifest=settings,
        begun=lambda: tracker.params(settings["settings"] | {"potentials": list(potentials)}),
        retried=[path for part in parts for path in work.paths(part)] if options.retry else (),
        isolated=options.isolated,
    )
    if not share.is_first:
        return None
    records: dict[str, list[Record]] = {label: [] for label in labels}
    for part in parts:
        records[part.label] += work.records(part)
    paths = _pictures(work, inputs, records) | write_tables(output, protocol, records)
    _track(tracker, records, paths)
    return PhononResult(
        rows=[row_of(label, record) for label, done in records.items() for record in done],
        error_rows=error_rows(_compared(work, records)),
        convergence_rows=convergence_rows(_studies(work, inputs)),
        lines=lines_of(records, protocol),
        paths=paths,
        records=records,
        failed=any(record.failure for done in records.values() for record in done),
    )


def _track(tracker: Tracker, records: Mapping[str, Sequence[Record]], paths: Mapping[str, Path]) -> None:
    """Mean errors, the values of each crystal where there are not too many, and all files of the whole run."""
    for label, mine in records.items():
        errors = mean_errors(mine)
        tracker.metrics({f"{label}/MAE {name}": x for name, x in errors.items() if np.isfinite(x)}, 0)
        tracker.metrics({f"{label}/failed": float(sum(bool(record.failure) for record in mine))}, 0)
        for record in mine if len(mine) <= _MANY else ():
            tracker.metrics({f"{label}/{record.name}/{name}": x for name, x in record.values.items()}, 0)
    for path in paths.values():
        tracker.artifact(path)


def _manifest(
    potentials: Sequence[str],
    inputs: Sequence[Input],
    protocol: PhononProtocol,
    options: PhononOptions,
    how: PotentialOptions,
    *,
    hashed: bool,
) -> dict[str, dict[str, Any]]:
    """What the numbers depend on; the first process alone, which compares them, reads all files for their hashes."""
    named = described_potentials([text for text in potentials if text != REFERENCE], how)
    return {
        "settings": asdict(protocol) | {"displacements": options.displacements},
        "potentials": dict(named),
        "crystals": {one.name: one.described for one in inputs if hashed},
    }


def _compared(work: PhononWork, records: Mapping[str, Sequence[Record]]) -> Mapping[str, Sequence[Record]]:
    """By potential, and in a study by displacement, too."""
    if len(work.options.displacements) < 2:
        return records
    found: dict[str, list[Record]] = {}
    for label, mine in records.items():
        for record in mine:
            size = record.name.rpartition("@")[2] if label != REFERENCE else ""
            found.setdefault(f"{label}, {size}" if size else label, []).append(record)
    return found


def _studies(work: PhononWork, inputs: Sequence[Input]) -> dict[str, Studies]:
    """By crystal and potential: what was found at each displacement. Empty if there is no study."""
    if len(work.options.displacements) < 2:
        return {}
    found: dict[str, Studies] = {}
    for one in inputs:
        parts = [Part(label, one) for label in work.labels if label != REFERENCE]
        found[one.name] = {
            part.label: list(zip(work.names(part).values(), work.records(part), strict=True))
            for part in parts
        }
    return found


def _pictures(
    work: PhononWork, inputs: Sequence[Input], records: Mapping[str, Sequence[Record]]
) -> dict[str, Path]:
    """Draw what is of several crystals or displacements, and name the pictures of a few."""
    paths: dict[str, Path] = {}
    for one in inputs if len(inputs) <= _FEW else ():
        if work.options.plots:
            work.plot(one)  # anew, because potentials may have been computed by several calls
        if work.plot_path(one).exists():
            paths[f"bands of {one.name}"] = work.plot_path(one)
    for name, of_potentials in _studies(work, inputs).items():
        path = work.output / f"{file_name(name)}.convergence.png"
        convergence_plot(of_potentials, name, path)
        if len(inputs) <= _FEW:
            paths[f"convergence of {name}"] = path
    compared = sum(
        any(np.isfinite(r.error(q)) for q in QUANTITIES) for mine in records.values() for r in mine
    )
    if compared and len(inputs) > 1:
        paths["against references"] = work.output / "parity.png"
        parity_plots(_compared(work, records), paths["against references"])
    return paths
