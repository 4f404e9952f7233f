"""`esen train`: a training and the tests that follow it, as one tracked run in one folder."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console

from esen.allocator import keep_freed_memory
from esen.data.checks import check_structure
from esen.data.readers import Reading, load_structures
from esen.data.structure import Structure
from esen.errors import InputError
from esen.files import Interrupted, locked, signals_interrupt, write_atomically
from esen.md.calculator import choose_device, find_weights
from esen.models.checkpoint import load_potential
from esen.recipe import Recipe
from esen.recipe.load import flatten
from esen.study.finetune import before_and_after, complete_recipe, keep_licence
from esen.study.mae import Row, evaluate_with_progress, mae_rows, write_mae
from esen.study.plots.training import training_curves
from esen.track import Tracker, make_tracker
from esen.train.dataset import Report, TrainingData, known_frames, load_training_data
from esen.train.distributed import Team, team_of_processes
from esen.train.fit import FitResult, fit
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
    device = choose_device(device)

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    with ExitStack() as stack:
        team = stack.enter_context(team_of_processes(device))
        console = Console(stderr=True, quiet=not team.is_first)
        place = (
            torch.device(device, torch.cuda.current_device()) if device == "cuda" else torch.device(device)
        )
        output = Path(team.first_says(str(output)))
        resumed = None
        if resume:
            if team.is_first:
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
            for line in where_it_goes_on(output, resumed, recipe):
                say(line)
        say(
            f"{len(data.train)} frames to train on, {len(data.validation)} to validate, {len(test)} to test;"
            f" {place}, {torch.get_num_threads()} threads{_of(team)}; into {output}"
        )
        if not team.is_first:  # what the others write is of no use
            output = Path(stack.enter_context(TemporaryDirectory()))
        output.mkdir(parents=True, exist_ok=True)
        if not resume and team.is_first:
            stack.enter_context(locked(output))
        tracker = make_tracker(
            enabled=recipe.tracking.enabled and team.is_first,
            uri=recipe.tracking.uri,
            experiment=recipe.tracking.experiment,
            run_name=output.name,
            resume_id=kept_run_id(output) if resume else None,
        )
        stack.callback(lambda: keep_run_id(output, tracker.run_id))  # known at the latest when it has closed
        stack.enter_context(tracker)
        tracker.params(flatten(recipe))
        keep_licence(initial, output)
        fitted = fit(
            recipe,
            data,
            output,
            tracker=tracker,
            device=place,
            console=console,
            start=initial if resumed is None else resumed,
            team=team,
        )
        if not team.is_first:
            return ExperimentResult([], {})
        say(f"{fitted.steps} steps in {duration(fitted.seconds)}")
        if recipe.train.init_from is not None:
            console.print(before_and_after(output))
        frames, of = (test, "test") if test else (list(data.validation), "validation")
        with _training_is_finished(output, device):
            return _evaluate(recipe, fitted, frames, of, output, tracker)


def _of(team: Team) -> str:
    return "" if team.size == 1 else f" in each of {team.size} processes"


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
    processes = os.environ.get("LOCAL_WORLD_SIZE", "1")
    start = "" if processes == "1" else f"torchrun --nproc-per-node {processes} --no-python "
    return f"{start}esen train {recipe} --output {quote(str(output))}{given} --resume"


def duration(seconds: float) -> str:
    """In words.

    >>> duration(7.31), duration(125), duration(7260)
    ('7.3 s', '2 min 5 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def test_frames(recipe: Recipe, data: TrainingData, report: Report) -> list[Structure]:
    """The frames of `data.test` that are to be evaluated.

    Raises:
        InputError: they cannot be read, or hold what cannot be predicted.
    """
    if not recipe.data.test or recipe.evaluate.mae is None:
        return []
    test = load_structures(recipe.data.test, Reading.of(recipe.data))
    for structure in test:
        check_structure(structure, recipe.model.max_elements)
    return list(known_frames(test, data.references.elements, "test", report))


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
    weights, curves = find_weights(output), output / "training.png"
    paths = {"run": output, "weights": weights, "to go on from": fitted.last}
    if fitted.steps:
        training_curves(read_rows(output / "metrics.jsonl"), curves)
        paths["training curves"] = curves
    paths |= {f"weights of {path.stem.removeprefix('best-')}": path for path in sorted(output.glob("best-*"))}
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
