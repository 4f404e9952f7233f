"""`esen train`: a training and the tests that follow it, as one tracked run in one folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from esen.allocator import keep_freed_memory
from esen.data.checks import check_structure
from esen.data.readers import Reading, read_structures
from esen.data.structure import Structure
from esen.md.calculator import choose_device
from esen.models.checkpoint import Checkpoint, load_potential, write_atomically
from esen.recipe import Recipe
from esen.recipe.load import flatten
from esen.study.mae import Row, evaluate_with_progress, mae_rows, write_mae
from esen.study.plots import training_curves
from esen.track import Tracker, make_tracker
from esen.train.dataset import TrainingData, load_training_data
from esen.train.fit import FitResult, fit, read_resumable
from esen.train.record import read_rows


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
    console = Console(stderr=True)
    place = torch.device(choose_device(device))
    resumed = read_resumable(output, recipe) if resume else None

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    data = load_training_data(recipe, say)
    test = _test_frames(recipe)
    if resume:
        say(_where_it_goes_on(output, resumed))
    say(
        f"{len(data.train)} frames to train on, {len(data.validation)} to validate, {len(test)} to test;"
        f" {place}, {torch.get_num_threads()} threads; into {output}"
    )
    output.mkdir(parents=True, exist_ok=True)
    tracker = make_tracker(
        enabled=recipe.tracking.enabled,
        uri=recipe.tracking.uri,
        experiment=recipe.tracking.experiment,
        run_name=output.name,
        resume_id=resumed.progress["tracking"] if resumed else None,
    )
    with tracker:
        tracker.params(flatten(recipe))
        fitted = fit(recipe, data, output, tracker=tracker, device=place, console=console, resumed=resumed)
        result = _evaluate(recipe, data, fitted, test, output, place)
        _track(tracker, result, output)
    return result


def _test_frames(recipe: Recipe) -> list[Structure]:
    if not recipe.data.test or recipe.evaluate.mae is None:
        return []
    test = read_structures(recipe.data.test, Reading.of(recipe.data))
    for structure in test:
        check_structure(structure, recipe.model.max_elements)
    return test


def _where_it_goes_on(output: Path, resumed: Checkpoint | None) -> str:
    if resumed is None:
        return f"resuming {output}: it was stopped before its first checkpoint, so it begins at step 0"
    at = resumed.progress
    return (
        f"resuming {output}: from step {at['step']}, stage {at['stage'] + 1},"
        f" {at['epoch']} epochs and {at['batch']} batches"
    )


def _evaluate(
    recipe: Recipe,
    data: TrainingData,
    fitted: FitResult,
    test: list[Structure],
    output: Path,
    device: torch.device,
) -> ExperimentResult:
    curves = output / "training.png"
    training_curves(read_rows(output / "metrics.jsonl"), curves)
    paths = {"run": output, "weights": fitted.best, "to go on from": fitted.last, "training curves": curves}
    frames, of = (test, "test") if test else (data.validation, "validation")
    rows: list[Row] = []
    if recipe.evaluate.mae is not None:
        potential = load_potential(fitted.best, device=str(device))
        report = evaluate_with_progress(potential, frames, device=str(device))
        paths |= write_mae(report, output)
        rows = [row | {"MAE of": f"{of}, {row['MAE of']}"} for row in mae_rows(report)]
        summary: dict[str, Any] = {"steps": fitted.steps, "seconds": fitted.seconds, of: report.to_json()}
        write_atomically(output / "summary.json", json.dumps(summary, indent=2, ensure_ascii=False).encode())
    return ExperimentResult(rows, paths)


def _track(tracker: Tracker, result: ExperimentResult, output: Path) -> None:
    if result.summary:
        overall = json.loads((output / "mae.json").read_text())["overall"]
        metrics = {f"test/{name}_mae": overall[name]["mae"] for name in ("energy", "forces", "stress")}
        step = json.loads((output / "summary.json").read_text())["steps"]
        tracker.metrics({name: value for name, value in metrics.items() if value is not None}, step)
    for path in (output / "recipe.yaml", *result.paths.values()):
        if path.is_file():
            tracker.artifact(path)
