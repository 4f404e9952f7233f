"""The whole of `esen conductivity`: every potential on every material, one record after the other."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from esen.evaluate.conductivity.protocol import ConductivityProtocol
from esen.evaluate.conductivity.reference import ReferenceConductivity, write_reference
from esen.study.conductivity.choose import Input
from esen.study.conductivity.files import write_tables
from esen.study.conductivity.plots import carriers_of, carriers_of_reference, modes_plot, parity_plot
from esen.study.conductivity.record import Record
from esen.study.conductivity.rows import Row, lines_of, rows_of, summaries, summary_rows
from esen.study.conductivity.scores import References, read_references, scored
from esen.study.conductivity.work import ConductivityOptions, ConductivityWork, Part
from esen.study.materials.models import REFERENCE
from esen.study.materials.records import write_record
from esen.study.materials.run import run_materials
from esen.study.materials.share import ALONE, Share
from esen.study.potentials import PotentialOptions, described_potentials, file_name, labelled
from esen.track import Tracker

KAPPAS_FILE = "kappas.json.gz"
_FEW = 3
"""Materials whose pictures are named to the user."""
_MEANS = ("srme", "sre", "srd", "spectrum", "failure_rate", "imaginary_rate")


@dataclass(frozen=True, eq=False)
class ConductivityResult:
    """What was found.

    Attributes:
        rows: a row a potential, material and temperature.
        summary_rows: means over materials, a row a potential.
        lines: what is to be known.
        paths: of the files.
        records: by potential.
        failed: whether a material has no result.
    """

    rows: list[Row]
    summary_rows: list[Row]
    lines: list[str]
    paths: dict[str, Path]
    records: dict[str, list[Record]] = field(default_factory=dict)
    failed: bool = False


def run_conductivity(
    potentials: Sequence[str],
    inputs: Sequence[Input],
    protocol: ConductivityProtocol,
    options: ConductivityOptions,
    *,
    output: Path,
    tracker: Tracker,
    share: Share = ALONE,
    **how: Unpack[PotentialOptions],
) -> ConductivityResult | None:
    """Compute, record and compare. What an earlier call of the same folder recorded is not computed again.

    Args:
        potentials: each as `resolve_potential` takes it, or `reference`: the force sets of the input, which the others
            are compared with where the file of references has none.
        inputs: materials with names of their own.
        protocol: how.
        options: of the run. All that is recorded is scored against their file of references, at any call.
        output: folder of all files.
        tracker: of the run.
        share: of this process, under torchrun.
        **how: of `resolve_potential`; a checkpoint's dtype is float64 if none is given.

    Returns:
        None in all processes but the first.

    Raises:
        InputError: a potential or the references cannot be used, or the folder has records of something else.
        Interrupted: by the user.
    """
    references = read_references(options.reference, [one.name for one in inputs], protocol)
    named = labelled([text for text in potentials if text != REFERENCE])
    labels = (*named, *((REFERENCE,) if REFERENCE in potentials else ()))
    work = ConductivityWork(tuple(potentials), how, protocol, options, output)
    parts = [Part(label, one) for one in inputs for label in labels]
    wanted = {part.label for part in parts if options.retry or work.missing(part)}
    work = replace(work, wanted=tuple(wanted))
    settings = _manifest(potentials, inputs, protocol, how)
    run_materials(
        work,
        parts,
        share,
        output=output,
        manifest=settings,
        begun=lambda: tracker.params(
            settings["settings"] | {"potentials": list(potentials), "reference": str(options.reference or "")}
        ),
        retried=[work.path(part) for part in parts] if options.retry else (),
        isolated=options.isolated,
    )
    if not share.is_first:
        return None
    kept = _kept(work, parts)
    references = references.with_force_sets(kept.get(REFERENCE, {}))
    records = _scored(work, parts, references)
    found = summaries(records)
    paths = _pictures(work, inputs, records, references)
    paths |= write_tables(output, protocol, references, records, found)
    for label, mine in kept.items():
        paths[f"as --reference, of {label}"] = path = output / file_name(label) / KAPPAS_FILE
        write_reference(path, list(mine.values()))
    _track(tracker, records, found)
    several = len(inputs) > 1 or any(one["compared"] for one in found.values())
    return ConductivityResult(
        rows=[
            row
            for label, done in records.items()
            for record in done
            for row in rows_of(label, record, protocol)
        ],
        summary_rows=summary_rows(found) if several else [],
        lines=lines_of(records, protocol, references),
        paths=paths,
        records=records,
        failed=any(record.failure for done in records.values() for record in done),
    )


def _manifest(
    potentials: Sequence[str],
    inputs: Sequence[Input],
    protocol: ConductivityProtocol,
    how: PotentialOptions,
) -> dict[str, dict[str, Any]]:
    """What the numbers depend on."""
    named = described_potentials([text for text in potentials if text != REFERENCE], how)
    return {
        "settings": asdict(protocol),
        "potentials": dict(named),
        "materials": {one.name: one.described for one in inputs},
    }


def _kept(work: ConductivityWork, parts: Sequence[Part]) -> dict[str, dict[str, ReferenceConductivity]]:
    """By potential and material: the conductivities, as others are compared with them."""
    found: dict[str, dict[str, ReferenceConductivity]] = {}
    for part in parts:
        record, modes = work.record(part), work.modes(part)
        if record.failure or modes is None:
            continue
        one = modes.as_reference(record.name, record.label, record.groups[-1])
        if one is not None:
            found.setdefault(part.label, {})[record.name] = one
    return found


def _scored(work: ConductivityWork, parts: Sequence[Part], references: References) -> dict[str, list[Record]]:
    """By potential: the records, written anew where their score has changed."""
    found: dict[str, list[Record]] = {}
    for part in parts:
        record = work.record(part)
        mine = references
        if part.label == REFERENCE:  # force sets are not compared with themselves
            mine = references.of_file()
        new = scored(record, work.modes(part), mine)
        if not new.same(record):
            write_record(work.path(part), new)
        found.setdefault(part.label, []).append(new)
    return found


def _pictures(
    work: ConductivityWork,
    inputs: Sequence[Input],
    records: Mapping[str, Sequence[Record]],
    references: References,
) -> dict[str, Path]:
    """Draw all, because potentials and references may be of several calls, and name the pictures of a few."""
    paths: dict[str, Path] = {}
    if not work.options.plots:
        return paths
    for one in inputs:
        path = work.output / f"{file_name(one.name)}.modes.png"
        if _modes_picture(work, one, tuple(records), references, path) and len(inputs) <= _FEW:
            paths[f"modes of {one.name}"] = path
    compared = {r.name for mine in records.values() for r in mine if r.score is not None}
    if len(compared) > 1:
        paths["against references"] = work.output / "parity.png"
        shown = {label: mine for label, mine in records.items() if any(r.score is not None for r in mine)}
        parity_plot(shown, {name: references.found[name] for name in compared}, paths["against references"])
    return paths


def _modes_picture(
    work: ConductivityWork, one: Input, labels: Sequence[str], references: References, path: Path
) -> bool:
    """Whether there was something to draw."""
    curves = {}
    kelvin = work.protocol.temperatures[0]
    for label in labels:
        part = Part(label, one)
        modes = None if work.record(part).failure else work.modes(part)
        drawn = None if modes is None else carriers_of(modes)
        if drawn is not None:
            curves[label] = drawn
    beneath = None
    if one.name in references.found:
        reference = references.found[one.name]
        if np.isclose(reference.temperatures[0], kelvin):
            beneath = carriers_of_reference(reference)
    own = references.sources.get(one.name)
    if REFERENCE in curves and own is not None and one.name not in references.of_file().found:
        beneath = curves.pop(REFERENCE)  # with its lifetimes
    if not curves and beneath is None:
        path.unlink(missing_ok=True)
        return False
    modes_plot(curves, beneath, f"{one.name}, {kelvin:g} K", path)
    return True


def _track(
    tracker: Tracker, records: Mapping[str, Sequence[Record]], found: Mapping[str, Mapping[str, Any]]
) -> None:
    """The conductivity of each material, with the temperature as its step, and the means."""
    for label, mine in records.items():
        for record in mine:
            for kelvin in record.temperatures:
                values = {f"{label}/kappa/{record.name}": record.kappa("total", kelvin)}
                tracker.metrics(values, round(kelvin))
            if record.score is not None:
                tracker.metrics({f"{label}/srme/{record.name}": record.srme}, 0)
        means = {f"{label}/{key}": found[label].get(key) for key in _MEANS}
        tracker.metrics({key: value for key, value in means.items() if value is not None}, 0)
