"""The whole of `esen phonons`: every potential on every crystal, one record after the other."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from esen.errors import InputError
from esen.evaluate.phonons.crystal import Crystal, quietly
from esen.evaluate.phonons.properties import measure
from esen.evaluate.phonons.protocol import PhononProtocol
from esen.evaluate.phonons.run import Model, Phonons, phonons_at, relaxed_crystal
from esen.study.drift.names import file_name, labelled
from esen.study.phonons.choose import Input
from esen.study.phonons.files import claim, write_tables, write_thermal
from esen.study.phonons.models import REFERENCE, models_of
from esen.study.phonons.plots import bands_plot
from esen.study.phonons.record import Record, failed, read_record, record_of, write_record
from esen.study.phonons.rows import Row, error_rows, lines_of, mean_errors, row_of
from esen.study.potentials import PotentialOptions
from esen.track import Tracker

Found = tuple[Record, Phonons | None]
"""What is recorded, and the phonons themselves where they were computed just now."""


@dataclass(frozen=True)
class PhononOptions:
    """What the user chooses, beside potentials, crystals and protocol.

    Attributes:
        displacements: in Å; more than one: a study of convergence.
        allow_direct: whether potentials whose forces are no gradient are run.
        batch_atoms: displaced supercells go together up to so many atoms.
    """

    displacements: tuple[float, ...] = ()
    allow_direct: bool = False
    batch_atoms: int = 512


@dataclass(frozen=True, eq=False)
class PhononResult:
    """What was found.

    Attributes:
        rows: a row a potential, crystal and displacement.
        error_rows: mean absolute errors against references, a row a potential.
        lines: what is to be known.
        paths: of the files.
        records: by potential.
        failed: whether a crystal has no result.
    """

    rows: list[Row]
    error_rows: list[Row]
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
    **how: Unpack[PotentialOptions],
) -> PhononResult:
    """Compute, record and compare. What an earlier call of the same folder recorded is not computed again.

    Args:
        potentials: each as `resolve_potential` takes it, or `reference`: the force sets of the input.
        inputs: crystals with names of their own.
        protocol: how.
        options: of the run.
        output: folder of all files.
        tracker: of the run.
        **how: of `resolve_potential`; a checkpoint's dtype is float64 if none is given.

    Raises:
        InputError: a potential cannot be used, or the folder has records of something else.
    """
    models = models_of(
        potentials,
        how,
        exact=protocol.method == "hessian",
        allow_direct=options.allow_direct,
        batch_atoms=options.batch_atoms,
    )
    settings = _manifest(potentials, inputs, protocol, options, how)
    claim(output, settings)
    tracker.params(settings["settings"] | {"potentials": list(potentials)})
    records: dict[str, list[Record]] = {label: [] for label in models}
    paths: dict[str, Path] = {}
    for one in inputs:
        crystal, found = _all_potentials(one, models, protocol, options, output)
        for label, mine in found.items():
            records[label] += [record for record, _ in mine]
        path = _plot(one.name, crystal, found, output)
        if path is not None and len(inputs) <= 3:
            paths[f"bands of {one.name}"] = path
    paths |= write_tables(output, protocol, records)
    for label, done in records.items():
        errors = mean_errors(done)
        tracker.metrics({f"{label}/{name}": value for name, value in errors.items() if np.isfinite(value)}, 0)
    return PhononResult(
        rows=[row_of(label, record) for label, done in records.items() for record in done],
        error_rows=error_rows(records),
        lines=lines_of(records, protocol),
        paths=paths,
        records=records,
        failed=any(record.failure for done in records.values() for record in done),
    )


def _manifest(
    potentials: Sequence[str],
    inputs: Sequence[Input],
    protocol: PhononProtocol,
    options: PhononOptions,
    how: PotentialOptions,
) -> dict[str, dict[str, Any]]:
    """What the numbers depend on."""
    settings = asdict(protocol) | {
        "displacements": options.displacements,
        "calculator_args": list(how.get("calculator_args", ())),
        "dtype": how.get("dtype") or "float64",
    }
    named = labelled([text for text in potentials if text != REFERENCE])
    crystals = {one.name: f"{one.source}, supercell: {one.supercell}" for one in inputs}
    return {"settings": settings, "potentials": dict(named), "crystals": crystals}


def _all_potentials(
    one: Input,
    models: Mapping[str, Model | None],
    protocol: PhononProtocol,
    options: PhononOptions,
    output: Path,
) -> tuple[Crystal | None, dict[str, list[Found]]]:
    """A crystal with all potentials; it is read only if something is left to compute."""
    found: dict[str, list[Found]] = {}
    crystal, trouble = None, ""
    for label, model in models.items():
        folder = output / file_name(label)
        folder.mkdir(exist_ok=True)
        names = _names(one.name, protocol, options if model else PhononOptions())
        paths = {name: folder / f"{file_name(name)}.json" for name in names}
        if all(path.exists() for path in paths.values()):
            found[label] = [(read_record(path), None) for path in paths.values()]
            continue
        try:
            if crystal is None and not trouble:
                crystal = replace(one.load(), name=one.name)
        except InputError as error:
            trouble = str(error)
        if crystal is None:
            found[label] = [(failed(name, one.known, trouble), None) for name in names]
            for (record, _), path in zip(found[label], paths.values(), strict=True):
                write_record(path, record)
        elif model is None:
            found[label] = [_reference(crystal, protocol, paths[one.name])]
        else:
            found[label] = _displaced(crystal, model, protocol, names, paths)
    return crystal, found


def _names(name: str, protocol: PhononProtocol, options: PhononOptions) -> dict[str, float]:
    """What a crystal is called at each displacement."""
    if len(options.displacements) > 1:
        return {f"{name}@{displacement:g} Å": displacement for displacement in options.displacements}
    return {name: (options.displacements or (protocol.displacement,))[0]}


def _displaced(
    crystal: Crystal,
    model: Model,
    protocol: PhononProtocol,
    names: Mapping[str, float],
    paths: Mapping[str, Path],
) -> list[Found]:
    """A crystal with one potential, relaxed once, at each displacement that is not recorded yet."""
    found: list[Found] = []
    at, how, trouble = crystal, None, ""
    for name, displacement in names.items():
        path = paths[name]
        if path.exists():
            found.append((read_record(path), None))
            continue
        phonons: Phonons | None = None
        try:
            if trouble:
                raise InputError(trouble)
            model.check_elements(crystal.unitcell)
            if how is None and protocol.relax is not None:
                try:
                    at, how = relaxed_crystal(crystal, model.calculator, protocol)
                except InputError as error:
                    trouble = str(error)
                    raise
            exact = replace(protocol, displacement=displacement)
            phonons = phonons_at(replace(at, name=name), how, model, exact)
            record = record_of(phonons.crystal, phonons, crystal.known)
            quietly(
                phonons.phonopy.save,
                path.with_suffix(".phonopy.yaml"),
                settings={"force_constants": True, "force_sets": False},
            )
            write_thermal(path.with_suffix(".thermal.csv"), phonons)
        except InputError as error:
            record = failed(name, crystal.known, str(error))
        write_record(path, record)
        found.append((record, phonons))
    return found


def _reference(crystal: Crystal, protocol: PhononProtocol, path: Path) -> Found:
    """The force sets of the input through the same measurement."""
    if crystal.reference is None:
        record = failed(crystal.name, crystal.known, f"{crystal.name}: the input holds no force sets")
        write_record(path, record)
        return record, None
    phonons = Phonons(crystal, None, crystal.reference, measure(crystal.reference, protocol))
    record = record_of(crystal, phonons, crystal.known)
    write_thermal(path.with_suffix(".thermal.csv"), phonons)
    write_record(path, record)
    return record, phonons


def _plot(
    name: str, crystal: Crystal | None, found: Mapping[str, Sequence[Found]], output: Path
) -> Path | None:
    """Bands of what was computed just now, over those of the reference."""
    path = output / f"{file_name(name)}.bands.png"
    drawn = {}
    for label, mine in found.items():
        for record, phonons in mine:
            if phonons is not None and label != REFERENCE:
                of = f", {record.name.rpartition('@')[2]}" if len(mine) > 1 else ""
                drawn[f"{label}{of}"] = phonons.phonopy
    reference = None if crystal is None else crystal.reference
    if drawn or (REFERENCE in found and reference is not None):
        bands_plot(drawn, reference, name, path)
    return path if path.exists() else None
