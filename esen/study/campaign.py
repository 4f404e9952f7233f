"""Campaigns: a property of many items, computed with one or several potentials, one record each.

An `Item` is a crystal or structure that is read when its turn comes. A `Property` says how its record is computed. The
engine does the rest: it claims the output folder, does only what has no record yet, isolates the work in a process that
is replaced when it dies, shares it under torchrun, shows the progress, and reads the records.
"""

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, get_type_hints

import numpy as np
from pydantic import TypeAdapter
from rich.progress import BarColumn, TimeElapsedColumn, TimeRemainingColumn

from esen.data.structure import Structure
from esen.data.structures import read_named_structures
from esen.errors import InputError, typed_line
from esen.evaluate.model import Model, Progress
from esen.files import locked, plain, read_json, write_atomically, write_json
from esen.md.calculator import EsenCalculator
from esen.study.potentials import (
    PotentialOptions,
    PotentialSource,
    digest,
    distinct,
    file_name,
    labelled,
    potential_sources,
    resolve_all,
)
from esen.study.processes import ALONE, Processes
from esen.study.report import finish
from esen.study.table import Column, Table, write_result
from esen.study.workers import do_jobs
from esen.terminal import progress_bar
from esen.text import first_few
from esen.track import Tracker
from esen.track.mlflow_tracker import legal_key

T = TypeVar("T")
R = TypeVar("R", bound="Record")
I = TypeVar("I", bound="Item[Any]")

REFERENCE = "reference"
"""Name that the user gives for the force sets of the input, in the place of a potential."""
MANIFEST = "manifest.json"
_CACHED = 32
"""Items that a worker keeps, because all potentials are applied to one item after the other."""
_MANY = 200
"""Items beyond which only means are tracked."""
_HASH = "sha256 "


class Record(Protocol):
    """What is kept of one item with one potential: a frozen dataclass of numbers, texts, lists and tuples.

    All fields but `name` need a default, so that a failure can be recorded.
    """

    @property
    def name(self) -> str:
        """Name of the item, unique in the run."""

    @property
    def potential(self) -> str:
        """Label of the potential; set when the record is read."""

    @property
    def failure(self) -> str:
        """Why there is no result; empty if there is one."""


@dataclass(frozen=True, kw_only=True)
class Item(Generic[T]):
    """A crystal or structure that is read when its turn comes, because a benchmark has thousands.

    Attributes:
        name: unique among those of a run.
        source: the file, and the frame.
        read: reads it and raises InputError where it cannot be used; it can be pickled.
        hashed: returns a digest of its content.
        settings: what else its numbers depend on, such as the supercell.
    """

    name: str
    source: str
    read: Callable[[], T]
    hashed: Callable[[], str]
    settings: str = ""

    @property
    def described(self) -> str:
        """The source, the digest and the settings, for the manifest."""
        return f"{self.source} ({self.hashed()})" + (f", {self.settings}" if self.settings else "")


@dataclass(frozen=True, eq=False)
class Task(Generic[I]):
    """One item with one potential.

    Attributes:
        label: of the potential.
        item: to be read.
    """

    label: str
    item: I


@dataclass(frozen=True)
class CampaignOptions:
    """What the user chooses, beside potentials, items and protocol.

    Attributes:
        allow_direct: whether potentials are run whose forces are not a gradient.
        batch_atoms: structures are evaluated together, at most so many atoms at a time.
        plots: whether figures are drawn.
        retry: whether items that failed are computed again.
        isolated: whether a worker process computes several items, so that one that kills it does not end the run.
    """

    allow_direct: bool = False
    batch_atoms: int = 512
    plots: bool = True
    retry: bool = False
    isolated: bool = True


@dataclass(frozen=True, eq=False)
class CampaignRun:
    """What all campaigns need, whatever the property: potentials, options, folder, tracker and processes.

    Attributes:
        potentials: each as `resolve_potential` takes it, or `reference` for the force sets of the input.
        output: folder of all files.
        tracker: of the run.
        options: of the run.
        how: options of `resolve_potential`; the dtype of checkpoints is float64 if none is given.
        processes: of the run.
    """

    potentials: Sequence[str]
    output: Path
    tracker: Tracker
    options: CampaignOptions = field(default_factory=CampaignOptions)
    how: PotentialOptions = field(default_factory=PotentialOptions)
    processes: Processes = ALONE

    @property
    def named(self) -> dict[str, str]:
        """The potentials by label, with `reference` last.

        Raises:
            InputError: a potential is called `reference`.
        """
        computed = labelled([text for text in self.potentials if text != REFERENCE])
        if REFERENCE in computed:
            raise InputError(
                f"{REFERENCE}: means the force sets of the input; give the potential's folder another name"
            )
        return computed | ({REFERENCE: REFERENCE} if REFERENCE in self.potentials else {})

    @cached_property
    def sources(self) -> dict[str, PotentialSource]:
        """What identifies each potential, by label.

        Raises:
            InputError: a folder holds no checkpoint.
        """
        return potential_sources([text for text in self.potentials if text != REFERENCE], self.how)


Job = tuple[Task[I], ...]
"""Tasks of one potential that are done together."""


@dataclass(frozen=True, eq=False)
class Property(Generic[I, R]):
    """A property of items: how its record is computed, and where the records are.

    A subclass sets the class variables and defines `compute`. It is pickled for the worker, so it names its potentials
    and does not hold them.

    Attributes:
        command: name of the command, for the manifest and the default folder.
        record: the dataclass of a record.
        items: what the items are called in the manifest.
        exact: whether second derivatives of the energy are needed.
        potentials: what the user gave, by label; `reference` is the force sets of the input.
        how: options of `resolve_potential`.
        output: folder of all files.
        options: of the run.
        wanted: labels of the potentials that have something to compute; the others are not loaded.
    """

    command: ClassVar[str]
    record: ClassVar[type[Any]]
    items: ClassVar[str] = "structures"
    has_references: ClassVar[bool] = False
    """Whether `reference`, the force sets of the input, can stand for a potential."""
    refuse_direct: ClassVar[str] = ""
    """Why potentials with direct forces are refused unless `allow_direct` is set; empty: they are not."""

    potentials: Mapping[str, str]
    how: PotentialOptions
    output: Path
    options: CampaignOptions
    wanted: frozenset[str] = frozenset()

    @classmethod
    def of(cls, run: CampaignRun, **own: Any) -> Self:
        """Make the property for a run, with the attributes of the subclass.

        Raises:
            InputError: a potential is called `reference`, or the property has no reference values.
        """
        if REFERENCE in run.potentials and not cls.has_references:
            raise InputError(
                f"{REFERENCE}: esen {cls.command} needs potentials; an input has no reference for it"
            )
        return cls(potentials=run.named, how=run.how, output=run.output, options=run.options, **own)

    @property
    def exact(self) -> bool:
        """Whether second derivatives of the energy are needed."""
        return False

    def compute(self, task: Task[I], content: Any, model: Model | None, progress: Progress) -> R:
        """Compute the record of one item.

        Args:
            task: the item and the label of the potential.
            content: what `item.read` returned. The potential knows the elements of a structure.
            model: the potential; None for the force sets of the input.
            progress: is called with the number of computations done and of all.

        Raises:
            InputError: there is no result; the message becomes the failure of the record.
        """
        raise NotImplementedError

    def failed(self, task: Task[I], name: str, reason: str) -> R:
        """Make the record of an item without a result, with its source if the record has one."""
        known = {"source": task.item.source} if "source" in get_type_hints(self.record) else {}
        made: R = self.record(name=name, failure=reason, **known)
        return made

    def names(self, task: Task[I]) -> Sequence[str]:
        """Return the names of the records of a task; one unless a subclass needs several."""
        return (task.item.name,)

    def path(self, label: str, name: str) -> Path:
        """Return the path of a record; other files of the same item have the same stem."""
        return self.output / file_name(label) / f"{file_name(name)}.json"

    def is_done(self, label: str, name: str) -> bool:
        """Whether there is a record with all files that belong to it."""
        return self.path(label, name).exists()

    def read(self, label: str, name: str) -> R:
        """Read a record: null is NaN where a number is expected.

        Raises:
            InputError: the file is missing or damaged.
        """
        found: R = replace(read_record(self.path(label, name), self.record), potential=label)
        return found

    def write(self, label: str, record: R) -> None:
        """Write a record, atomically."""
        content: Any = record
        write_json(self.path(label, record.name), asdict(content) | {"potential": label})

    def records(self, task: Task[I]) -> list[R]:
        """Read the records of a task."""
        return [self.read(task.label, name) for name in self.names(task)]

    def jobs(self, items: Sequence[I], processes: int) -> list[Job[I]]:
        """Divide the work into jobs: item by item, with all potentials, so that each item is read once."""
        return [(Task(label, item),) for item in items for label in self.potentials]

    # What follows is the `Work` that `do_jobs` does.

    def begin(self) -> Callable[[Job[I], Progress], None]:
        """Load the potentials."""
        models = self._models()
        read = _Cache()
        return lambda job, progress: self.do(job, models[job[0].label], read, progress)

    def do(
        self, job: Job[I], model: Model | None, read: Callable[[Item[Any]], Any], progress: Progress
    ) -> None:
        """Do a job: compute and write the records that are missing.

        Args:
            job: tasks of one potential.
            model: the potential; None for the force sets of the input.
            read: returns the content of an item, which it keeps for the next potential.
            progress: as of `compute`.
        """
        for (task,) in self.missing(job):
            with self.guarded(task):
                content = read(task.item)
                if model is not None and isinstance(content, Structure):
                    model.check_elements(content)
                self.write(task.label, self.compute(task, content, model, progress))

    def missing(self, job: Job[I]) -> list[Job[I]]:
        """Return the tasks of a job that have no record, one by one."""
        return [(t,) for t in job if not all(self.is_done(t.label, name) for name in self.names(t))]

    def give_up(self, job: Job[I], reason: str) -> None:
        """Record that tasks have no result."""
        for task in job:
            for name in self.names(task):
                if not self.is_done(task.label, name):
                    self.write(task.label, self.failed(task, name, reason))

    def name(self, job: Job[I]) -> str:
        """Return what the progress shows of a job."""
        more = f" and {len(job) - 1} more" if len(job) > 1 else ""
        return f"{job[0].label}, {job[0].item.name}{more}"

    @contextmanager
    def guarded(self, task: Task[I], name: str | None = None) -> Iterator[None]:
        """Record any error within the block as the failure of a task, so that it does not end the others.

        Args:
            task: whose failure it is.
            name: of the record; None: all records of the task that are missing.
        """
        try:
            yield
        except Exception as error:  # of spglib, phonopy or a foreign calculator
            if isinstance(error, OSError) and str(self.output) in str(error.filename):
                raise  # the disk is full or the folder cannot be written, which is no failure of the item
            first = self.path(task.label, name or self.names(task)[0])
            reason = reason_of(error, first.with_suffix(".traceback.txt"))
            if name is None:
                self.give_up((task,), reason)
            else:
                self.write(task.label, self.failed(task, name, reason))

    def _models(self) -> dict[str, Model | None]:
        """Load the potentials that are wanted.

        Raises:
            InputError: one cannot be loaded, or cannot do what is asked for.
        """
        models: dict[str, Model | None] = {REFERENCE: None} if REFERENCE in self.potentials else {}
        computed = [text for label, text in self.potentials.items() if label != REFERENCE]
        for label, resolved in (resolve_all(computed, self.how, self.wanted) if computed else {}).items():
            if resolved.direct and self.refuse_direct and not self.options.allow_direct:
                raise InputError(
                    f"{resolved.text}: its forces are not the gradient of its energy, {self.refuse_direct};"
                    " --allow-direct runs it nevertheless"
                )
            differentiable = resolved.differentiable if self.exact and not resolved.direct else None
            if self.exact and differentiable is None:
                raise InputError(
                    f"--method hessian: {resolved.text} has no exact second derivatives, which only conservative"
                    " potentials of esen have; leave it out"
                )
            ours = resolved.calculator is None
            models[label] = Model(
                potential=resolved.potential,
                calculator=resolved.calculator or EsenCalculator(resolved.potential, device=resolved.device),
                device=resolved.device,
                differentiable=differentiable,
                batch_atoms=self.options.batch_atoms,
                elements=resolved.possible_elements,
                direct=resolved.direct,
                as_calculator=EsenCalculator if ours else None,
            )
        return models


@dataclass(frozen=True, eq=False)
class CampaignResult:
    """What a campaign found.

    Attributes:
        tables: shown to the user, in this order.
        lines: remarks that are shown beneath the tables.
        paths: files that were written, by what they hold.
        records: by label of the potential, in the order of the items.
        failed: whether an item has no result or not the one that was asked for.
    """

    tables: list[Table[Any]]
    lines: list[str]
    paths: dict[str, Path]
    records: Mapping[str, Sequence[Any]]
    failed: bool


def run_campaign(
    work: Property[I, R], items: Sequence[I], settings: Mapping[str, Any], run: CampaignRun
) -> dict[str, list[R]] | None:
    """Compute what has no record yet, with the other processes, and read all records.

    What an earlier call recorded in the folder is not computed again.

    Args:
        work: the property, made by `Property.of`.
        items: with unique names, the same in all processes.
        settings: what all numbers depend on. A folder with records of other settings is refused; potentials and items
            may be added.
        run: potentials, folder, options, tracker and processes.

    Returns:
        The records by label, in the order of the items; None in all processes but the first.

    Raises:
        InputError: a potential cannot be loaded, or the folder has records of something else.
        Interrupted: by the user.
    """
    tracker, processes = run.tracker, run.processes
    tasks = [Task(label, item) for item in items for label in work.potentials]
    recorded = [(t.label, name) for t in tasks for name in work.names(t)] if work.options.retry else []
    failures = [(label, name) for label, name in recorded if is_failure(work.path(label, name), work.record)]
    wanted = {task.label for task in tasks if work.missing((task,))} | {label for label, _ in failures}
    work = replace(work, wanted=frozenset(wanted))
    described = {label: str(source) for label, source in run.sources.items()}
    hashed = items if processes.is_first else ()  # the first process alone compares manifests
    manifest = {
        "of": {"command": f"esen {work.command}"},
        "settings": dict(settings),
        "potentials": described,
        work.items: {item.name: item.described for item in hashed},
    }
    jobs = work.jobs(items, processes.size)
    with ExitStack() as stack:

        def claim_folder() -> None:
            work.output.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(work.output))
            claim(work.output, manifest)
            for path in (work.path(label, name) for label, name in failures):
                if is_failure(path, work.record):  # another process may have computed it meanwhile
                    path.unlink()
                    path.with_suffix(".traceback.txt").unlink(missing_ok=True)
            tracker.params(dict(settings) | {"potentials": list(described.values()), work.items: len(items)})

        processes.first_says("compared", lambda: str(earlier_manifest(work.output, manifest) != {}))
        do_jobs(
            work,
            jobs,
            processes,
            resumed_by=f"the same command and --output {work.output}",
            before=claim_folder,
            begun=stack.enter_context(_progress_bar(len(jobs), visible=processes.is_first)),
            isolated=work.options.isolated,
            again=len(failures),
        )
    if not processes.is_first:
        return None
    records: dict[str, list[R]] = {label: [] for label in work.potentials}
    for task in tasks:
        records[task.label] += work.records(task)
    return records


def structure_items(files: Sequence[str], frames: str = ":") -> list[Item[Structure]]:
    """Return the structures of files in their order, called `MgO` of `MgO.cif`, or `MgO#3` of several frames.

    Args:
        files: in any format that esen or ASE reads.
        frames: of each file, a Python slice.

    Raises:
        InputError: a file is missing or cannot be read, nothing is selected, or a structure is impossible.
    """
    found = [
        structure_item(name, structure)
        for text in files
        for name, structure in read_named_structures(Path(text).expanduser(), frames)
    ]
    return uniquely_named(found)


def structure_item(name: str, structure: Structure) -> Item[Structure]:
    """Return an item of a structure that has been read."""
    return Item(
        name=name,
        source=structure.source,
        read=partial(_same, structure),
        hashed=partial(geometry_digest, structure),
    )


def uniquely_named(items: Sequence[I]) -> list[I]:
    """Return the items with names that are different, also where a file system ignores upper and lower case."""
    names = distinct([item.name for item in items])
    return [replace(item, name=name) for item, name in zip(items, names, strict=True)]


def _same(structure: Structure) -> Structure:
    return structure


class _Cache:
    """Reads items and keeps the last of them. A file is read once for all potentials."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}

    def __call__(self, item: Item[Any]) -> Any:
        if item.name not in self._kept:
            content = item.read()
            if len(self._kept) >= _CACHED:
                self._kept.pop(next(iter(self._kept)))
            self._kept[item.name] = content
        return self._kept[item.name]


# Records and manifests


def read_record(path: Path, kind: type[R]) -> R:
    """Read a record: null is NaN where a number is expected, and lists are tuples where these are.

    Raises:
        InputError: the file is damaged.
    """
    try:
        content = read_json(path, "--retry computes it again")
        hints = get_type_hints(kind)
        for one in fields(kind):  # type: ignore[arg-type]
            if hints[one.name] is float and content.get(one.name, 0.0) is None:
                content[one.name] = float("nan")
        kind(**content)  # refuses unknown and missing fields
        return TypeAdapter(kind).validate_python(content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not a record of this command ({typed_line(error)}); --retry computes it again"
        ) from error


def is_failure(path: Path, kind: type[Any]) -> bool:
    """Whether a record exists and is that of a failure, or cannot be read."""
    try:
        return path.exists() and bool(read_record(path, kind).failure)
    except InputError:
        return True


def reason_of(error: Exception, traceback_path: Path) -> str:
    """Return an error in one line. The traceback of what is not a user's mistake is kept in a file."""
    if isinstance(error, InputError):
        return str(error)
    write_atomically(traceback_path, "".join(traceback.format_exception(error)))
    return f"{typed_line(error)} (traceback in {traceback_path.name})"


def claim(output: Path, manifest: Mapping[str, Mapping[str, Any]]) -> None:
    """Write what the numbers of a folder depend on, together with what earlier calls wrote.

    Args:
        output: the folder.
        manifest: `settings`, which are the same for all records of the folder; `potentials` and items by name, which
            later calls may add.

    Raises:
        InputError: the folder has records of something else.
    """
    earlier = earlier_manifest(output, manifest)
    parts = {part: earlier.get(part, {}) | plain(content) for part, content in manifest.items()}
    write_json(output / MANIFEST, parts)


def earlier_manifest(output: Path, manifest: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Read the manifest of earlier calls; an empty one if there is none.

    Raises:
        InputError: it disagrees with the manifest of this call.
    """
    path = output / MANIFEST
    if not path.exists():
        return {}
    try:
        earlier: dict[str, dict[str, Any]] = read_json(path, "give another folder")
        for part, content in manifest.items():
            _refuse_difference(output, part, earlier.get(part, {}), plain(content))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a manifest of this command ({error!r})") from error
    return earlier


def _refuse_difference(output: Path, part: str, earlier: dict[str, Any], now: dict[str, Any]) -> None:
    for key in sorted(earlier.keys() & now.keys()):
        if _identity(earlier[key]) != _identity(now[key]):
            raise InputError(
                f"--output {output}: was computed with {part}: {key} {earlier[key]}, now {now[key]};"
                " give another folder"
            )


def _identity(described: Any) -> Any:
    """Return what identifies an item or a potential: the hash and what follows it, wherever the file is."""
    return (
        described[described.index(_HASH) :]
        if isinstance(described, str) and _HASH in described
        else described
    )


def geometry_digest(structure: Structure) -> str:
    """Return the digest of atoms, cell and periodic directions, and of masses and constraints if there are any."""
    arrays = [structure.numbers, structure.positions, structure.cell, structure.pbc]
    arrays += [] if structure.masses is None else [structure.masses]
    rules = "".join(str(constraint.todict()) for constraint in structure.constraints).encode()
    return digest(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays) + rules)


# What the user sees


@contextmanager
def _progress_bar(total: int, *, visible: bool) -> Iterator[Callable[[int, str], Progress]]:
    """Show a bar on stderr: the item, how much of it is done, all items, and the time left.

    Args:
        total: number of jobs.
        visible: False: nothing is shown, as in all processes but one. Without a terminal nothing is shown either.
    """
    columns = ("{task.description}", BarColumn(), "{task.fields[jobs]}", TimeElapsedColumn(), "left")
    with progress_bar(*columns, TimeRemainingColumn(), hidden=not visible) as bar:
        shown = bar.add_task("", total=total, jobs=f"0/{total}")

        def begun(number: int, name: str) -> Progress:
            def proceeded(done: int, of: int) -> None:
                part = f" {done}/{of}" if of else ""
                bar.update(shown, completed=number + done / max(of, 1), description=name + part)

            bar.update(shown, completed=number, description=name, jobs=f"{number + 1}/{total}")
            return proceeded

        yield begun


def _track(
    tracker: Tracker,
    table: Table[Any],
    records: Mapping[str, Sequence[Any]],
    means: Mapping[str, Any],
    step: Callable[[Any], int],
) -> None:
    """Track the metrics of all records and the means of each potential.

    The keys name the quantity and its unit, not the potential, so that runs share a chart. The values of several
    potentials are therefore kept in one run each.

    Args:
        tracker: of the run.
        table: whose columns say what is tracked.
        records: by label.
        means: by label, further metrics.
        step: returns the step of the tracker for a record.
    """
    for label, mine in records.items():
        values = {key: float(value) for key, value in means.get(label, {}).items() if value is not None}
        names = list(dict.fromkeys(record.name for record in mine))
        keys = dict(zip(names, distinct([legal_key(name) for name in names]), strict=True))
        target = tracker.of(label)
        target.metrics({key: value for key, value in values.items() if np.isfinite(value)}, 0)
        for record in mine if len(names) <= _MANY else ():
            item = f"/{keys[record.name]}" if len(names) > 1 else ""
            values = {f"{key}{item}": value for key, value in table.metrics(record).items()}
            target.metrics(values, step(record))


def write_tables(
    run: CampaignRun,
    work: Property[Any, Any],
    records: Mapping[str, Sequence[T]],
    columns: Sequence[Column[T]],
    settings: Mapping[str, Any],
    *,
    means: Mapping[str, Mapping[str, Any]] | None = None,
    paths: Mapping[str, Path] | None = None,
    step: Callable[[T], int] = lambda record: 0,
    **more: Any,
) -> tuple[Table[T], dict[str, Path]]:
    """Write `<command>.csv`, `result.json` and `report.html`, and track the metrics and all files.

    Args:
        run: of the campaign.
        work: the property.
        records: by label; or rows of the table, if a record has several.
        columns: of the table.
        settings: what all numbers depend on.
        means: by label, further metrics.
        paths: files that were written before, by what they hold.
        step: returns the step of the tracker for a record, such as a temperature.
        **more: further sections of `result.json`.

    Returns:
        The table of all records, and the paths of all files.
    """
    table = Table(columns, [record for mine in records.values() for record in mine])
    csv = run.output / f"{work.command}.csv"
    write_atomically(csv, table.csv())
    result = write_result(
        run.output, work.command, potentials=run.sources, settings=settings, table=table, **more
    )
    _track(run.tracker, table, records, means or {}, step)
    return table, finish(run.output, {**(paths or {}), "table": csv, "result": result}, run.tracker)


def protocol_lines(protocol: Any, published: Mapping[str, Any]) -> list[str]:
    """Say whose protocol it was, and what of it was changed.

    Args:
        protocol: a dataclass with `name` and `source`.
        published: the protocols that can be cited, by name.
    """
    lines = [f"protocol {protocol.name}: {protocol.source}"]
    original = published.get(protocol.name, protocol)
    changed = [
        change_in_words(one.name, getattr(protocol, one.name))
        for one in fields(protocol)
        if getattr(protocol, one.name) != getattr(original, one.name)
    ]
    if changed:
        ours = protocol.source == "esen"
        what = "changed:" if ours else "NOT the protocol as published:"
        lines.append(f"{protocol.name}, {what} {', '.join(changed)}")
    return lines


def change_in_words(name: str, value: object) -> str:
    """Return what a user has changed of a protocol, with its unit.

    >>> [change_in_words("relax", None), change_in_words("isotopes", False), change_in_words("relax", "unit")]
    ['no relaxation', 'no isotopes', 'relaxation (unit)']
    >>> [change_in_words("timestep_fs", 2.0), change_in_words("temperatures", (300.0, 600.0))]
    ['timestep 2 fs', 'temperatures 300, 600 K']
    """
    unit = _UNITS.get(name) or next((unit for end, unit in _UNITS.items() if name.endswith(f"_{end}")), "")
    words = _WORDS.get(name) or name.removesuffix(f"_{unit}").replace("_", " ")
    if value is None or value is False:
        return f"no {words}"
    if value is True:
        return words
    numbers = value if isinstance(value, tuple) else (value,)
    shown = ", ".join(f"{one:g}" if isinstance(one, int | float) else str(one) for one in numbers)
    if name == "relax":
        return f"{words} ({shown})"
    return f"{words} {shown} {unit}".strip()


_WORDS = {"relax": "relaxation", "record_every": "a row of energies every"}
"""What keys of a protocol are called, where they are not words."""
_UNITS = {
    "fs": "fs",
    "ps": "ps",
    "record_every": "steps",
    "displacement": "Å",
    "temperatures": "K",
    "fmax": "eV/Å",
    "symprec": "Å",
}


def remark_lines(label: str, remarks: Iterable[tuple[str, str]]) -> list[str]:
    """Return one line for all items with the same remark.

    Args:
        label: of the potential.
        remarks: names of items with the remark.

    >>> remark_lines("emt", [("Al", "soft"), ("Au", "heavy"), ("Pb", "soft")])
    ['emt, Al, Pb: soft', 'emt, Au: heavy']
    """
    names: dict[str, list[str]] = {}
    for name, words in remarks:
        names.setdefault(words, []).append(name)
    return [f"{label}, {first_few(found)}: {words}" for words, found in names.items()]
