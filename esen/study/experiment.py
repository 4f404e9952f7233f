"""`esen train`: a training and the tests that follow it, as one tracked run in one folder."""

import errno
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from rich.console import Console

from esen.allocator import keep_freed_memory
from esen.data.checks import check_structure
from esen.data.readers import Reading, read_structures
from esen.data.structure import Structure
from esen.errors import InputError
from esen.md.calculator import choose_device, find_weights
from esen.models.checkpoint import load_potential, write_atomically
from esen.recipe import Recipe
from esen.recipe.load import flatten
from esen.study.mae import Row, evaluate_with_progress, mae_rows, write_mae
from esen.study.plots import training_curves
from esen.track import Tracker, make_tracker
from esen.train.dataset import Report, TrainingData, known_frames, load_training_data
from esen.train.fit import FitResult, fit
from esen.train.interrupt import Interrupted, signals_interrupt
from esen.train.lock import locked
from esen.train.record import keep_run_id, kept_run_id, read_rows
from esen.train.resume import check_same_data, read_resumable, where_it_goes_on

_METRICS = {"test": "test", "validation": "best_validation"}  # `validation/…` are the curves of training


@dataclass(frozen=True, eq=False)
class ExperimentResult:
    """What is shown at the end: a table of test errors, and where the files are."""

    summary: list[Row]
    paths: dict[str, Path]


def run_experiment(
    recipe: Recipe, output: Path, *, resume: bool = False, device: str = "auto"
) -> ExperimentResult:
    """Train, evaluate, plot, and track.

    Everything is checked before anything is written: recipe, data, test data, device.

    Args:
        recipe: with absolute paths.
        output: folder of the run; made if it is not there.
        resume: go on from its last checkpoint.
        device: `auto`, `cpu`, `cuda`, …

    Raises:
        Interrupted: by Ctrl-C or SIGTERM, after saving.
        InputError: what the user gave cannot be used.
        OSError: the folder cannot be written.
    """
    keep_freed_memory()
    with signals_interrupt(), _how_to_go_on(output, device):
        return _run(recipe, output, resume, device)


def _run(recipe: Recipe, output: Path, resume: bool, device: str) -> ExperimentResult:
    console = Console(stderr=True)
    place = torch.device(choose_device(device))

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    with ExitStack() as stack:
        resumed = None
        if resume:
            stack.enter_context(locked(output))
            resumed = read_resumable(output, recipe)
        data = load_training_data(recipe, say)
        test = _test_frames(recipe, data, say)
        if resumed is not None:
            check_same_data(resumed, data, output)
        if resume:
            for line in where_it_goes_on(output, resumed, recipe):
                say(line)
        say(
            f"{len(data.train)} frames to train on, {len(data.validation)} to validate, {len(test)} to test;"
            f" {place}, {torch.get_num_threads()} threads; into {output}"
        )
        output.mkdir(parents=True, exist_ok=True)
        if not resume:
            stack.enter_context(locked(output))
        tracker = make_tracker(
            enabled=recipe.tracking.enabled,
            uri=recipe.tracking.uri,
            experiment=recipe.tracking.experiment,
            run_name=output.name,
            resume_id=kept_run_id(output) if resume else None,
        )
        stack.callback(lambda: keep_run_id(output, tracker.run_id))  # known at the latest when it has closed
        stack.enter_context(tracker)
        tracker.params(flatten(recipe))
        fitted = fit(recipe, data, output, tracker=tracker, device=place, console=console, resumed=resumed)
        say(f"{fitted.steps} steps in {_duration(fitted.seconds)}")
        frames, of = (test, "test") if test else (data.validation, "validation")
        with _training_is_finished(output, device):
            return _evaluate(recipe, fitted, frames, of, output, tracker)


@contextmanager
def _how_to_go_on(output: Path, device: str) -> Iterator[None]:
    """Within its block, what stops the run from outside ends with the command that goes on.

    Raises:
        Interrupted: by a signal.
        InputError: by a full disk, or another refusal of the system that is about a file.
    """
    begun = (output / "recipe.yaml").exists
    command = _command(output, device)
    try:
        yield
    except KeyboardInterrupt as stop:
        words = str(stop) or "interrupted"
        raise Interrupted(f"{words}; go on with: {command}" if begun() else words) from None
    except OSError as error:
        if error.filename is None or error.strerror is None:
            raise  # not about a file: a defect
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        cure = "; make room" if full else ""
        again = f"; what was saved before is kept, go on with: {command}" if begun() else ""
        raise InputError(f"{error.filename}: cannot be written ({error.strerror}){cure}{again}") from error


@contextmanager
def _training_is_finished(output: Path, device: str) -> Iterator[None]:
    """Within its block, whatever the user reads says that the training is not lost."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("interrupted in the evaluation; the training is finished") from None
    except InputError as error:
        raise InputError(
            f"{error}; the training is finished, evaluate with: {_command(output, device)}"
        ) from error


def _command(output: Path, device: str) -> str:
    """What goes on with a run; the recipe in its folder holds all that `--set` has changed."""
    recipe = quote(str(output / "recipe.yaml"))
    given = "" if device == "auto" else f" --device {device}"
    return f"esen train {recipe} --output {quote(str(output))}{given} --resume"


def _duration(seconds: float) -> str:
    """In words.

    >>> _duration(7.31), _duration(125), _duration(7260)
    ('7.3 s', '2 min 5 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _test_frames(recipe: Recipe, data: TrainingData, report: Report) -> list[Structure]:
    if not recipe.data.test or recipe.evaluate.mae is None:
        return []
    test = read_structures(recipe.data.test, Reading.of(recipe.data))
    for structure in test:
        check_structure(structure, recipe.model.max_elements)
    return known_frames(test, data.references.elements, "test", report)


def _evaluate(
    recipe: Recipe, fitted: FitResult, frames: list[Structure], of: str, output: Path, tracker: Tracker
) -> ExperimentResult:
    """Figures, tables, and their way to the tracker.

    Args:
        recipe: of the run.
        fitted: the training.
        frames: to evaluate on.
        of: what they are, `test` or `validation`.
        output: folder of the run.
        tracker: gets the errors and all files.
    """
    curves = output / "training.png"
    training_curves(read_rows(output / "metrics.jsonl"), curves)
    weights = find_weights(output)
    paths = {"run": output, "weights": weights, "to go on from": fitted.last, "training curves": curves}
    summary: dict[str, Any] = {"steps": fitted.steps, "seconds": fitted.seconds}
    rows: list[Row] = []
    if recipe.evaluate.mae is not None:
        report = evaluate_with_progress(
            load_potential(weights, device=fitted.device), frames, device=fitted.device
        )
        paths |= write_mae(report, output)
        rows = [
            {key.replace("MAE of", f"{of} MAE"): value for key, value in row.items()}
            for row in mae_rows(report)
        ]
        summary[of] = report.to_json()
        means = {f"{name}_mae": errors["mae"] for name, errors in summary[of]["overall"].items()}
        known = {f"{_METRICS[of]}/{name}": mean for name, mean in means.items() if mean is not None}
        tracker.metrics(known, fitted.steps)
    write_atomically(output / "summary.json", json.dumps(summary, indent=2, ensure_ascii=False).encode())
    for path in (output / "summary.json", output / "metrics.csv", *paths.values()):
        if path.is_file():
            tracker.artifact(path)
    return ExperimentResult(rows, paths)
