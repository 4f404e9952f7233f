"""`esen train`: a training and the evaluation that follows it, as one tracked run in one folder."""

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich import box
from rich.table import Table

from esen.allocator import keep_freed_memory
from esen.data.checks import check_structure
from esen.data.frames import as_frames
from esen.data.readers import Reading, load_structures
from esen.data.structure import Structure
from esen.data.targets import TARGETS, listed
from esen.errors import InputError
from esen.files import RESULT, Interrupted, locked, signals_interrupt, write_atomically, write_json
from esen.md.calculator import choose_device, find_weights
from esen.models.checkpoint import Checkpoint, load_potential, read_checkpoint
from esen.recipe import Recipe
from esen.recipe.advice import advice
from esen.recipe.load import flatten
from esen.study.campaign import geometry_digest
from esen.study.mae import Row, evaluate_with_progress, mae_metrics, mae_rows, write_mae
from esen.study.overlap import report_overlap
from esen.study.plots.training import training_curves
from esen.study.potentials import digest, potential_sources
from esen.study.report import finish
from esen.study.source import RunSource
from esen.study.table import Column, write_result
from esen.study.table import Table as ResultTable
from esen.study.tracked import device_name, git_tags, parameters_of, run_tags
from esen.terminal import make_console
from esen.text import duration
from esen.threads import thread_choice
from esen.track import Tracker, make_tracker
from esen.train.data import Report, TrainingData, known_frames, load_training_data
from esen.train.distributed import torchrun_processes
from esen.train.fit import fit
from esen.train.optim import check_freezing
from esen.train.progress import reporter
from esen.train.resume import check_same_data, read_resumable, resume_notes, run_model
from esen.train.run_files import BEST, LAST, keep_tracking, kept_run_id, kept_tracking, read_metrics
from esen.train.state import Progress
from esen.train.transfer import Initial, inherit_model

_METRICS = {"test": "test", "validation": "best_validation"}  # `validation/…` are the curves of training


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """What is shown at the end: a table of errors, where the files are, and where MLflow shows the run."""

    summary: list[Row]
    paths: dict[str, Path]
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class TrainingRecord:
    """The row of a training in `result.json`.

    Attributes:
        potential: Label of the potential.
        of: What the errors are of, `test` or `validation`.
        frames: Number of these frames.
        errors: Mean absolute errors by target, in its `error_unit`; empty if nothing was evaluated.
        parameters: Number of trained weights.
        steps: Optimiser steps in all stages.
        seconds: Time of the training with its validations, in earlier processes too.
        device: What it was trained on.
        processes: Number of processes that trained together.
    """

    potential: str
    of: str
    frames: int
    errors: Mapping[str, float]
    parameters: int
    steps: int
    seconds: float
    device: str
    processes: int

    @property
    def ms_per_step(self) -> float | None:
        """Time per optimiser step in ms, validations included; None without a step."""
        return 1000 * self.seconds / self.steps if self.steps else None

    def columns(self) -> list[Column["TrainingRecord"]]:
        """Return the columns of the row."""
        errors = [
            Column[TrainingRecord](
                f"{self.of}_{target.name}_mae",
                f"{self.of} {target.name}",
                target.error_unit,
                lambda record, name=target.name: record.errors.get(name),  # type: ignore[misc]
                better="less",
            )
            for target in TARGETS
        ]
        return [
            Column("potential"),
            Column("of"),
            Column("frames"),
            *errors,
            Column("parameters", better="less"),
            Column("steps"),
            Column("seconds", "time", "s", better="less"),
            Column("ms_per_step", "training step", "ms", better="less"),
            Column("device"),
            Column("processes"),
        ]


def run_training(
    recipe: Recipe,
    output: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    source: RunSource | None = None,
) -> TrainingResult:
    """Train, evaluate, plot, and track.

    Everything is checked before anything is written: recipe, data, test data, device.

    Args:
        recipe: With absolute paths.
        output: Folder of the run; made if it does not exist.
        resume: Whether to resume from its last checkpoint.
        device: `auto`, `cpu`, `cuda`, …
        source: The recipe as the user gave it, for names and for `--resume`.

    Raises:
        Interrupted: The user stopped the run by Ctrl-C or SIGTERM; its state is saved.
        InputError: What the user gave cannot be used.
        OSError: The folder cannot be written.
    """
    keep_freed_memory()
    with signals_interrupt(), _how_to_resume(output, device):
        result, tracker = _run(recipe, output, resume, device, source)
    return replace(result, links=tracker.links)


def _run(
    recipe: Recipe, output: Path, resume: bool, device: str, source: RunSource | None
) -> tuple[TrainingResult, Tracker]:
    kind = choose_device(device)
    with ExitStack() as stack:
        processes = stack.enter_context(torchrun_processes(kind))
        console = make_console(quiet=not processes.is_first)
        say = reporter(console)
        place = torch.device(kind, torch.cuda.current_device()) if kind == "cuda" else torch.device(kind)
        output = Path(processes.first_says(str(output)))
        resumed = None
        if resume:
            if processes.is_first:
                stack.enter_context(locked(output))
            resumed = read_resumable(output, recipe)
        recipe, initial = complete_recipe(recipe, resumed, say)
        data = load_training_data(recipe, say)
        if initial is not None:
            initial.new_elements(recipe, data)
        test = test_frames(recipe, data, say)
        if resumed is not None:
            check_same_data(resumed, data, output)
        if resume:
            for line in resume_notes(output, resumed, recipe):
                say(line)
        threads = thread_choice(kind) + (
            f" in each of {processes.size} processes" if processes.size > 1 else ""
        )
        say(
            f"{len(data.train)} frames to train on, {len(data.validation)} to validate, {len(test)} to test;"
            f" {place}, {threads}; into {output}"
        )
        if not processes.is_first:  # what the others write is of no use
            output = Path(stack.enter_context(TemporaryDirectory()))
        output.mkdir(parents=True, exist_ok=True)
        if not resume and processes.is_first:
            stack.enter_context(locked(output))
        report_overlap(data, test, output, say)
        tracker = stack.enter_context(
            _tracked(
                recipe,
                data,
                output,
                source=source,
                resume=resume,
                device=place,
                enabled=recipe.tracking.enabled and processes.is_first,
            )
        )
        origin = {} if initial is None else initial.checkpoint.origin
        if licence := origin.get("licence", {}).get("text"):
            write_atomically(output / "LICENSE", licence)  # that of imported weights, beside the new ones
        fitted = fit(
            recipe,
            data,
            output,
            tracker=tracker,
            device=place,
            console=console,
            start=initial if resumed is None else resumed,
            processes=processes,
        )
        if not processes.is_first:
            return TrainingResult([], {}), tracker
        say(f"{fitted.step} steps in {duration(fitted.seconds)}")
        if recipe.train.init_from is not None:
            console.print(before_and_after(output))
        frames, of = (test, "test") if test else (list(data.validation), "validation")
        with _training_is_finished(output, device):
            return _evaluate(recipe, fitted, frames, of, output, tracker, str(place)), tracker


@contextmanager
def _tracked(
    recipe: Recipe,
    data: TrainingData,
    output: Path,
    *,
    source: RunSource | None,
    resume: bool,
    device: torch.device,
    enabled: bool,
) -> Iterator[Tracker]:
    """Open the tracked run, a new one or that of the folder, and keep in the folder where it is."""
    known = kept_tracking(output) if resume else {}
    name = known.get("name") or (output.name if source is None else source.name(recipe))
    tracker = make_tracker(
        enabled=enabled,
        uri=recipe.tracking.uri or (None if os.environ.get("MLFLOW_TRACKING_URI") else known.get("uri")),
        experiment=recipe.tracking.experiment,
        run_name=name,
        resume_id=kept_run_id(output) if resume else None,
    )
    counts = f"{len(data.train)} frames to train on, {len(data.validation)} to validate"
    note = f"{parameters_of(recipe):,} parameters, {counts}; folder `{output.absolute()}`"
    tags = {"variant": name, "data": data.fingerprint} | run_tags("train", output, str(device))
    if source is not None:
        if not resume:
            source.keep(output)
        tags |= {"recipe": source.recipe.stem} | git_tags(source.recipe)
        note = f"`{source.command}`\n\n{note}"
    try:
        with tracker:
            tracker.params(flatten(recipe) | {"parameters": parameters_of(recipe)})
            tracker.tags(tags if resume else tags | {"mlflow.note.content": note})
            yield tracker
    finally:  # the run is known at the latest when it has closed
        keep_tracking(output, tracker.run_id, place={"name": name, **tracker.place})


def complete_recipe(
    recipe: Recipe, resumed: Checkpoint | None, report: Report
) -> tuple[Recipe, Initial | None]:
    """Fill in what `model` leaves out, and return the recipe with the checkpoint to start from, if there is one.

    A run that is resumed goes on from its own checkpoint and no longer needs the one that it started from.

    Raises:
        InputError: The checkpoint cannot be read, the recipe asks for another network, or `train.freeze` names no
            part of it.
    """
    for line in advice(recipe):
        report(f"warning: {line}")
    initial: Initial | None = None
    notes: list[str] = []
    if recipe.train.init_from is not None and resumed is not None:
        recipe, _ = inherit_model(recipe, run_model(resumed), "the checkpoint to go on from")
    elif recipe.train.init_from is not None:
        initial = Initial.read(find_weights(Path(recipe.train.init_from)))
        recipe, notes = inherit_model(recipe, initial.checkpoint.recipe["model"], str(initial.path))
    check_freezing(recipe)
    for note in notes:
        report(note)
    return recipe, initial


def test_frames(recipe: Recipe, data: TrainingData, report: Report) -> list[Structure]:
    """Return the frames of `data.test` that will be evaluated. They may have any of the labels.

    Raises:
        InputError: They cannot be read or predicted, or have no label at all.
    """
    if not recipe.data.test or recipe.evaluate.mae is None:
        return []
    test = load_structures(recipe.data.test, replace(Reading.of(recipe.data), required=()))
    for structure in test:
        check_structure(structure, recipe.model.max_elements)
    known = list(known_frames(test, data.references.elements, "test", report))
    if not any(as_frames(known).facts.label_count(target) for target in TARGETS):
        raise InputError(f"data.test: no frame has {listed(TARGETS)} to compare with")
    return known


@contextmanager
def _how_to_resume(output: Path, device: str) -> Iterator[None]:
    """Add the command that resumes the run to the message of what stops it from outside.

    Raises:
        Interrupted: A signal stopped the run.
        InputError: The disk is full, or the system refused something else about a file.
    """
    begun = (output / "recipe.yaml").exists
    command = _command(output, device)
    try:
        yield
    except KeyboardInterrupt as stop:
        words = str(stop) or "interrupted"
        raise Interrupted(f"{words}; resume with: {command}" if begun() else words) from None
    except OSError as error:
        if error.filename is None or error.strerror is None:
            raise  # not about a file: a defect
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        cure = "; make room" if full else ""
        again = f"; what was saved before is kept; resume with: {command}" if begun() else ""
        raise InputError(f"{error.filename}: cannot be written ({error.strerror}){cure}{again}") from error


def write_training_result(
    output: Path, record: TrainingRecord, recipe: Recipe, frames: Sequence[Structure]
) -> Path:
    """Write `result.json` of a training, in the schema of all commands.

    The frames are identified by a digest of their geometries. Frames for validation are drawn by the seed, so that
    they identify nothing.
    """
    same = digest("".join(map(geometry_digest, frames)).encode()) if record.of == "test" else None
    return write_result(
        output,
        "train",
        potentials=potential_sources([str(output)], {}, default_dtype=None),
        settings={"of": record.of, "frames": same, "seed": recipe.train.seed, "device": record.device},
        table=ResultTable(record.columns(), [record]),
    )


@contextmanager
def _training_is_finished(output: Path, device: str) -> Iterator[None]:
    """Add to the message of an error in the evaluation that the training is not lost."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("interrupted in the evaluation; the training is finished") from None
    except InputError as error:
        raise InputError(
            f"{error}; the training is finished, evaluate with: {_command(output, device)}"
        ) from error


def _command(output: Path, device: str) -> str:
    """Return the command that resumes a run; the recipe in its folder contains what `--set` has changed."""
    recipe = quote(str(output / "recipe.yaml"))
    given = "" if device == "auto" else f" --device {device}"
    processes = os.environ.get("LOCAL_WORLD_SIZE", "1")
    start = "" if processes == "1" else f"torchrun --nproc-per-node {processes} --no-python "
    return f"{start}esen train {recipe} --output {quote(str(output))}{given} --resume"


def before_and_after(folder: Path) -> Table:
    """Return a table of the validation errors before the first step and of the best weights of the last stage."""
    rows = read_metrics(folder / "metrics.jsonl")
    before = next((row for row in rows if row["step"] == 0), {})
    after = read_checkpoint(folder / BEST).metrics if (folder / BEST).exists() else {}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("validation error", "before", "after", ""):
        table.add_column(title, justify="right" if title in ("before", "after") else "left")
    errors = [(f"{target.name}_mae", target.name, target.error_unit) for target in TARGETS]
    for key, name, unit in [("loss", "loss", ""), *errors]:
        cells = [found.get(f"validation/{key}") for found in (before, after)]
        if any(cell is not None for cell in cells):
            table.add_row(name, *("–" if cell is None else f"{cell:.4g}" for cell in cells), unit)
    return table


def _evaluate(
    recipe: Recipe,
    fitted: Progress,
    frames: list[Structure],
    of: str,
    output: Path,
    tracker: Tracker,
    device: str,
) -> TrainingResult:
    """Evaluate the best weights, write tables and figures, and send them to the tracker.

    Args:
        recipe: Recipe of the run.
        fitted: What the training reached.
        frames: Frames to evaluate on.
        of: What they are, `test` or `validation`.
        output: Folder of the run.
        tracker: Gets the errors and all files.
        device: Where to evaluate.
    """
    weights, curves = find_weights(output), output / "training.png"
    paths = {"run": output, "weights": weights, "to go on from": output / LAST}
    if fitted.step:
        training_curves(read_metrics(output / "metrics.jsonl"), curves)
        paths["training curves"] = curves
    paths |= {f"weights of {path.stem.removeprefix('best-')}": path for path in sorted(output.glob("best-*"))}
    summary: dict[str, Any] = {"steps": fitted.step, "seconds": fitted.seconds}
    rows: list[Row] = []
    if recipe.evaluate.mae is not None:
        potential = load_potential(weights, device=device)
        report = evaluate_with_progress(potential, frames, device=device, trained=True)
        paths |= write_mae(report, output)
        rows = [
            {key.replace("MAE of", f"{of} MAE"): value for key, value in row.items()}
            for row in mae_rows(report)
        ]
        summary[of] = report.to_json()
        errors = {f"{_METRICS[of]}/{key}": value for key, value in mae_metrics(report).items()}
        tracker.metrics(errors, 0)  # MLflow shows a metric of step 0 as a bar
    write_json(output / "summary.json", summary)
    found = report.overall.errors if rows else {}
    write_training_result(
        output,
        TrainingRecord(
            potential=output.name,
            of=of,
            frames=len(frames) if rows else 0,
            errors={name: error.mae for name, error in found.items()},
            parameters=parameters_of(recipe),
            steps=fitted.step,
            seconds=fitted.seconds,
            device=device_name(device),
            processes=int(os.environ.get("WORLD_SIZE", "1")),
        ),
        recipe,
        frames,
    )
    for path in (output / "summary.json", output / RESULT, output / "metrics.csv"):
        if path.is_file():
            tracker.artifact(path)
    return TrainingResult(rows, finish(output, paths, tracker))
