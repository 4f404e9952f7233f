"""Reading `result.json` of all commands: which potential was tested, how, and the rows of its results.

A potential is known by system, variant and seed. In a study these stand in `cell.json`, beside the result or beside the
weights that were tested. Outside of a study, the variant of a run is its recipe with what `--set` changed, and the seed
is that of its `recipe.yaml`. Other potentials are called by their label and have no seed.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from esen.errors import InputError, typed_line
from esen.files import RESULT, read_json, sha256_of
from esen.recipe.document import parse_document
from esen.study.ablation.cells import EARLIER, RECORD, STUDY
from esen.study.compare.quantities import Row
from esen.study.report.sheet import leaves
from esen.study.report.stored import (
    CURE,
    StoredCell,
    StoredColumn,
    StoredResult,
    StoredStudy,
    parse_stored,
    read_stored,
    shown_cell,
    shown_key,
)
from esen.study.source import SOURCE
from esen.text import first_few

_RECIPE = "recipe.yaml"
_SEED = "train.seed"
_NOT_OF_VARIANT = ("tracking.",)
_WITHOUT_EFFECT = frozenset(
    {
        "batch_atoms",
        "cutoff",
        "device",
        "devices",
        "frame_every",
        "frame_spacing",
        "skin",
        "trajectory",
        "version",
    }
)
"""Settings that say where and how fast something was computed, or that depend on the potential."""
_OF_TRAINING = frozenset({"of", "frames"})
"""Settings of `train` that say what the errors at the end are of; the rest is the recipe, the variant itself."""

Key = tuple[str, str, int | None]
"""System, variant and seed of a potential."""


@dataclass(frozen=True)
class Who:
    """Which potential was tested.

    Attributes:
        system: Name of the system in a study of several; otherwise empty.
        variant: Name of the variant, or label of a potential without a known training.
        seed: Seed of its training; None if it has none.
        unchanged: Whether the variant is known to be its recipe as it stands.
        study: Name of its study; empty if it is in none.
    """

    system: str
    variant: str
    seed: int | None = None
    unchanged: bool = False
    study: str = ""

    @property
    def key(self) -> Key:
        """System, variant and seed."""
        return self.system, self.variant, self.seed

    def __str__(self) -> str:
        return shown_key(*self.key)


@dataclass(frozen=True, eq=False)
class Record:
    """What one `result.json` says about one potential.

    Attributes:
        source: The file.
        command: Command that wrote it.
        who: The potential.
        given: What the user called it.
        content: Hash of the weights, or what else identifies the potential.
        dtype: Precision of a checkpoint; None for other potentials.
        test: Name of the test in a study; empty if there is none.
        settings: By dotted key, all that the numbers depend on.
        columns: By name.
        rows: Values by name of column.
    """

    source: Path
    command: str
    who: Who
    given: str
    content: str
    dtype: str | None
    test: str
    settings: Mapping[str, str]
    columns: Mapping[str, StoredColumn]
    rows: Sequence[Row]


@dataclass(frozen=True, eq=False)
class Found:
    """Everything beneath the folders.

    Attributes:
        records: One per result and potential.
        remarks: One line for everything that is left out or that should be known.
        cells: All potentials of studies, also those whose tests failed.
        variants: Names of variants in the order of the studies.
        bases: Name of the base by system, as far as a study says it.
    """

    records: list[Record]
    remarks: list[str]
    cells: list[Who]
    variants: list[str]
    bases: dict[str, str]


def read_records(folders: Sequence[Path]) -> Found:
    """Read all results beneath folders, each once.

    Raises:
        InputError: A folder is missing, holds no result, or a file in it is damaged.
    """
    for folder in folders:
        if not folder.exists():
            raise InputError(f"{folder}: no such folder; give folders of runs, tests or studies")
        if not folder.is_dir():
            raise InputError(f"{folder}: is a file; give the folder that holds it")
    every = {path.parent: read_stored(path, StoredCell) for path in _files(folders, RECORD)}
    cells = {folder: cell for folder, cell in every.items() if not cell.outdated}
    studies = {path.parent: read_stored(path, StoredStudy) for path in _files(folders, STUDY)}
    remarks: list[str] = []
    records = list(_records(folders, every, remarks))
    if not records:
        where = ", ".join(map(str, folders))
        raise InputError(
            f"{where}: no results (no {RESULT} of a command of esen); give folders of runs, tests or studies"
        )
    sources = [record.source.resolve() for record in records]
    for folder in map(Path.resolve, folders):
        if not any(source.is_relative_to(folder) for source in sources):
            remarks.append(f"{folder}: no results")
    for cell in cells.values():
        if cell.state != "done":
            remarks.append(f"{cell.name} {cell.state}{f': {cell.failure}' if cell.failure else ''}")
    remarks += _mixed_versions(cells.values())
    for folder, study in studies.items():
        ended = {cell.key for place, cell in cells.items() if place.is_relative_to(folder)}
        names = [shown_cell(*key) for key in study.planned if key not in ended]
        if names:
            few, of = first_few(names, between="; "), len(study.planned)
            remarks.append(f"{study.study}: {len(names)} of {of} cells are not computed ({few})")
    whos = [_who_of_cell(cell) for cell in cells.values()]
    if len({who.study for who in whos if who.study}) > 1:
        records = [replace(record, who=_in_study(record.who)) for record in records]
        whos = [_in_study(who) for who in whos]
    bases = {study.study: study.base for study in studies.values() if study.base}
    return Found(
        records=_distinct(records),
        remarks=list(dict.fromkeys(remarks)),
        cells=whos,
        variants=list(dict.fromkeys(variant for study in studies.values() for variant in study.variants)),
        bases={who.system: bases[who.study] for who in whos if who.study in bases},
    )


def _in_study(who: Who) -> Who:
    """Return a potential whose system is that of its study alone, because variants of several have equal names."""
    return replace(who, system=": ".join(word for word in (who.study, who.system) if word))


def _files(folders: Iterable[Path], name: str) -> list[Path]:
    """Return the files of a name beneath folders, sorted, each once."""
    found: dict[Path, Path] = {}
    for folder in folders:
        found |= {path.resolve(): path for path in sorted(folder.rglob(name)) if path.is_file()}
    return list(found.values())


def _records(
    folders: Sequence[Path], cells: Mapping[Path, StoredCell], remarks: list[str]
) -> Iterator[Record]:
    """Yield what all results say about each of their potentials."""
    outdated = 0
    for path in _files(folders, RESULT):
        cell = cells.get(path.parent)
        if cell is not None and cell.outdated:
            outdated += EARLIER not in path.parts  # the user has computed those again
            continue
        content = read_json(path, CURE)
        if {"command", "potentials", "columns", "rows"} <= content.keys():
            yield from _records_of(path, parse_stored(path, content, StoredResult), cell, remarks)
        else:
            remarks.append(f"{path} is left out, because it is no result of esen")
    if outdated:
        remarks.append(
            f"{outdated} result{'s are' if outdated > 1 else ' is'} left out, because the study has changed since"
        )


def _records_of(
    path: Path, result: StoredResult, cell: StoredCell | None, remarks: list[str]
) -> Iterator[Record]:
    """Yield what a result says about each of its potentials."""
    settings = _identifying(result.command, result.settings)
    only = next(iter(result.potentials)) if len(result.potentials) == 1 else None
    for label, source in result.potentials.items():
        yield Record(
            source=path,
            command=result.command,
            who=_who_of_cell(cell) if cell and only else _who(path, result, label, remarks),
            given=str(source.get("given") or label),
            content=str(source.get("sha256") or [source.get("given"), source.get("arguments")]),
            dtype=str(source["dtype"]) if source.get("dtype") else None,
            test="" if cell is None else cell.test,
            settings=settings,
            columns={column.name: column for column in result.columns},
            rows=[row for row in result.rows if row.get("potential", only) == label],
        )
    others = {str(row["potential"]) for row in result.rows if "potential" in row} - result.potentials.keys()
    if others:
        remarks.append(
            f"{path}: rows of {first_few(sorted(others))} are left out, because another test computed them"
        )
    if not result.potentials:
        remarks.append(f"{path} is left out, because it names no potential")


def _identifying(command: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """Return by dotted key, as JSON, the settings by which tests are told apart."""
    texts = {key: json.dumps(value, ensure_ascii=False, sort_keys=True) for key, value in leaves(settings)}
    if command == "train":
        return {key: text for key, text in texts.items() if key in _OF_TRAINING}
    return {key: text for key, text in texts.items() if not _WITHOUT_EFFECT.intersection(key.split("."))}


def _who(path: Path, result: StoredResult, label: str, remarks: list[str]) -> Who:
    """Return which potential a result is about that is no cell of a study, and remark what is not known."""
    source = result.potentials[label]
    given = source.get("arguments")
    arguments = " ".join(map(str, given)) if isinstance(given, list) else ""
    named = Who("", f"{label} {arguments}".strip())
    if not source.get("path"):
        return named
    weights, training = Path(str(source["path"])), result.command == "train"
    folder = path.parent if training else _run_folder(path, result, weights, source.get("sha256"))
    if folder is None:
        remarks.append(
            f"{path}: the weights {weights} are not found, so that the seed of {label} is not known;"
            " it is compared without one"
        )
        return named
    if not training and source.get("sha256") != _hash(folder / weights.name):
        remarks.append(f"{folder / weights.name} has changed since it was tested by {result.command}")
    if (folder / RECORD).is_file():
        return _who_of_cell(read_stored(folder / RECORD, StoredCell))
    if not (folder / _RECIPE).is_file():
        return named  # imported weights
    name, unchanged = _variant(folder)
    stage = "" if weights.stem == "best" else f" {weights.stem}"
    return Who("", name + stage, _seed(folder), unchanged=unchanged and not stage)


def _who_of_cell(cell: StoredCell) -> Who:
    return Who(cell.system, cell.variant, cell.seed, study=cell.study)


def _run_folder(path: Path, result: StoredResult, weights: Path, digest: str | None) -> Path | None:
    """Return the folder of weights, whose path may be relative to where the command was called.

    The folders may have been moved since; then they are looked for beside the result.
    """
    began = result.environment.get("folder")
    places = [*([Path(str(began))] if began else []), *path.absolute().parents, Path()]
    found = [folder for place in places if ((folder := place / weights.parent) / weights.name).is_file()]
    return next(
        (folder for folder in found if _hash(folder / weights.name) == digest), next(iter(found), None)
    )


@cache
def _hash_of(path: Path, stamp: tuple[int, int]) -> str:
    return sha256_of(path)


def _hash(path: Path) -> str:
    status = path.stat()
    return _hash_of(path.absolute(), (status.st_mtime_ns, status.st_size))


def _variant(folder: Path) -> tuple[str, bool]:
    """Return the name of the variant of a run, and whether it is its recipe as it stands."""
    if not (folder / SOURCE).is_file():
        return folder.resolve().name, False
    source = read_json(folder / SOURCE, CURE)
    given = source.get("set")
    changes = list(map(str, given)) if isinstance(given, list) else []
    kept = [change for change in changes if not change.startswith((f"{_SEED}=", *_NOT_OF_VARIANT))]
    stem = Path(str(source.get("recipe") or folder.name)).stem
    return " ".join([stem, *kept]), not kept


def _seed(folder: Path) -> int:
    """Return the seed of a run.

    Raises:
        InputError: Its recipe is damaged.
    """
    path = folder / _RECIPE
    try:
        recipe = parse_document(path.read_text(encoding="utf-8"), str(path)).value
        seed = recipe["train"]["seed"]
    except (UnicodeDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path}: no recipe of a run ({typed_line(error)}); {CURE}") from error
    if not isinstance(seed, int):
        raise InputError(f"{path}: train.seed is {seed!r}, expected an integer; {CURE}")
    return seed


def _mixed_versions(cells: Iterable[StoredCell]) -> list[str]:
    """Return a line per study whose cells were computed with several versions of esen."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for cell in cells:
        for version in cell.versions:
            found[cell.study][version].append(cell.name)
    return [
        f"the cells of {study} were computed with {len(versions)} versions of esen: "
        + "; ".join(
            f"{version}: {len(names)} cell{'s' * (len(names) > 1)} ({first_few(names, between='; ')})"
            for version, names in versions.items()
        )
        for study, versions in found.items()
        if len(versions) > 1
    ]


def _distinct(records: Sequence[Record]) -> list[Record]:
    """Name potentials without a seed so that two that share a label, or a label and a variant, are told apart."""
    seeded = {record.who.variant for record in records if record.who.seed is not None}
    contents: dict[str, set[str]] = defaultdict(set)
    for record in records:
        if record.who.seed is None:
            contents[record.who.variant].add(record.content)

    def named(record: Record) -> Record:
        variant = record.who.variant
        if record.who.seed is not None or (variant not in seeded and len(contents[variant]) == 1):
            return record
        given = os.path.normpath(record.given)
        return replace(record, who=replace(record.who, variant=f"{variant} ({given})"))

    return [named(record) for record in records]
