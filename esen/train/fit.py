"""A whole training: data, stages, checkpoints; resumable."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from esen.data.structure import Structure
from esen.files import StopSignal, write_atomically
from esen.models.checkpoint import Checkpoint, read_checkpoint, restore_potential, save_checkpoint
from esen.models.potential import EsenPotential, make_potential
from esen.recipe import BatchSpec, Recipe, at_stage, describe_stage
from esen.recipe.load import dump_recipe, flatten
from esen.track import Tracker
from esen.train.best import best_path, settle_best
from esen.train.carry import carry_over
from esen.train.dataset import Batches, TrainingData
from esen.train.distributed import ALONE, Team
from esen.train.freeze import check_patterns
from esen.train.initial import Initial, initial_potential
from esen.train.precision import check_steps, matrix_products, prepared
from esen.train.progress import TrainDisplay
from esen.train.record import Record, keep_run_id, kept_run_id
from esen.train.resume import adapt, is_finished, recipe_changes
from esen.train.stage import Stage
from esen.train.state import TrainState


@dataclass(frozen=True)
class FitResult:
    """What a training reached.

    Attributes:
        last: checkpoint to go on from.
        steps: optimiser steps in all.
        seconds: in all processes that worked on it.
        device: where it was done.
    """

    last: Path
    steps: int
    seconds: float
    device: str


def fit(
    recipe: Recipe,
    data: TrainingData,
    folder: Path,
    *,
    tracker: Tracker,
    device: torch.device,
    console: Console,
    start: Checkpoint | Initial | None = None,
    team: Team = ALONE,
) -> FitResult:
    """Train as the recipe says, from the beginning or from a checkpoint, into a folder.

    Args:
        recipe: of the run; its model is complete, if it starts from a checkpoint.
        data: frames, reference energies, scale.
        folder: of the run.
        tracker: of the run; if there are several stages, each has a child of it, too.
        device: where to compute.
        console: for progress and notes.
        start: the last checkpoint of an interrupted run to go on with; or what `train.init_from` names; None: random
            weights.
        team: the processes that share the work, each with a folder of its own; the first one's is the run's.

    Raises:
        Interrupted: by Ctrl-C or SIGTERM, after saving.
        InputError: the loss is no longer a number, memory is too small, the checkpoint does not fit.
        OSError: the folder cannot be written, the disk is full.
    """
    check_freezing(recipe)
    for note in check_steps(recipe.train, device):
        console.print(note, highlight=False, soft_wrap=True)
    state = _started(recipe, data, folder, start, device, console, team)
    tracker.artifact(folder / "recipe.yaml")
    record = Record(folder, up_to_step=state.progress.step, validated=state.progress.batch == 0)
    epochs = tuple(stage.epochs for stage in recipe.train.stages)
    display = TrainDisplay(console, epochs, len(data.train))
    train, validation = _batches(recipe, data.train), _batches(recipe, data.validation)
    with (
        closing(record),
        StopSignal(display.stopping, grace=team.grace) as stop,
        display,
        matrix_products(recipe.train.precision, device),
    ):
        for index in range(state.progress.stage, len(epochs)):
            if index > state.progress.stage:
                state = _next_stage(state, recipe, folder, team)
                display.line(
                    f"{describe_stage(recipe, index)}: {epochs[index]} epochs, from the best weights so far"
                )
            train.spec = at_stage(recipe, index).train.batch
            validation.spec = _in_parts(train.spec, recipe.train.micro_batch_atoms)
            with ExitStack() as stack:
                trackers: tuple[Tracker, ...] = (tracker,)
                if len(epochs) > 1:
                    trackers += (stack.enter_context(_stage_tracker(recipe, index, folder, tracker)),)
                Stage(
                    recipe=recipe,
                    state=state,
                    train=train,
                    validation=validation,
                    weights=_frame_weights(data),
                    folder=folder,
                    record=record,
                    trackers=trackers,
                    display=display,
                    stop=stop,
                    team=team,
                ).run()
    progress = state.progress
    return FitResult(folder / "last.safetensors", progress.step, progress.seconds, str(device))


def _started(
    recipe: Recipe,
    data: TrainingData,
    folder: Path,
    start: Checkpoint | Initial | None,
    device: torch.device,
    console: Console,
    team: Team,
) -> TrainState:
    """Where the training begins, or goes on; its recipe is in the folder."""
    if isinstance(start, Checkpoint):
        state = _go_on(recipe, data, start, folder, device)
    else:
        state = _begin(recipe, data, start, device, console)
        state.progress.data = data.fingerprint
        if team.is_first:  # from now on there is something to go on from
            save_checkpoint(folder / "last.safetensors", state.full_checkpoint(recipe, {}))
    finished = isinstance(start, Checkpoint) and is_finished(start, recipe)
    if not finished:  # what was trained stays as it was described
        write_atomically(folder / "recipe.yaml", dump_recipe(recipe).encode())
    return state


def check_freezing(recipe: Recipe) -> None:
    """Every pattern names something in its stage, and leaves something to train.

    Raises:
        InputError: one does not.
    """
    for index in range(len(recipe.train.stages)):
        here = at_stage(recipe, index)
        if here.train.freeze:
            with torch.device("meta"):  # names alone, no weights
                names = [name for name, _ in EsenPotential(here.model).named_parameters()]
            check_patterns(here.train.freeze, names)


def _begin(
    recipe: Recipe, data: TrainingData, initial: Initial | None, device: torch.device, console: Console
) -> TrainState:
    """At step 0 of the first stage."""
    here = at_stage(recipe, 0)
    if initial is None:
        state = TrainState.begin(new_potential(here, data).to(device), here)
    else:

        def say(text: str) -> None:
            console.print(text, highlight=False, soft_wrap=True)

        state = TrainState.begin(initial_potential(initial, recipe, data, say).to(device), here)
        state.origin = initial.origin(recipe)
    return state


def _go_on(
    recipe: Recipe, data: TrainingData, resumed: Checkpoint, folder: Path, device: torch.device
) -> TrainState:
    """Where the run was stopped."""
    last = folder / "last.safetensors"
    stage = min(int(resumed.progress["stage"]), len(recipe.train.stages) - 1)
    here = at_stage(recipe, stage)
    state = TrainState.begin(new_potential(here, data).to(device), here)
    state.restore(resumed, str(last))
    settle_best(folder, recipe, stage)
    best = best_path(folder, recipe, stage)
    adapt(state.progress, recipe_changes(resumed, recipe, last), has_best=best.exists())
    state.progress.data = data.fingerprint
    return state


def _next_stage(state: TrainState, recipe: Recipe, folder: Path, team: Team) -> TrainState:
    """From the best weights of the stage before: those that it was trained for. If they are lost, from its last."""
    stage = state.progress.stage
    best = best_path(folder, recipe, stage)
    source = state.evaluated()
    if best.exists():
        found = restore_potential(read_checkpoint(best), str(best))
        source = prepared(found, recipe.train).to(source.scale.device)
    here = at_stage(recipe, stage + 1)
    potential = prepared(carry_over(source, here.model, seed=recipe.train.seed), recipe.train)
    team.copy_first(potential.state_dict().values())
    return state.next_stage(potential, here)


@contextmanager
def _stage_tracker(recipe: Recipe, index: int, folder: Path, tracker: Tracker) -> Iterator[Tracker]:
    """A run of the stage's own, beneath that of the training."""
    child = tracker.child(describe_stage(recipe, index), kept_run_id(folder, stage=index))
    with child:
        child.params(flatten(at_stage(recipe, index)))
        yield child
    keep_run_id(folder, child.run_id, stage=index)


def new_potential(recipe: Recipe, data: TrainingData) -> EsenPotential:
    """Random weights from the seed; scale and references from the data."""
    potential = make_potential(recipe.model, seed=recipe.train.seed, elements=data.references.elements)
    potential.set_normalisation(data.scale, data.references.energies)
    return prepared(potential, recipe.train)


def _in_parts(batch: BatchSpec, atoms: int | None) -> BatchSpec:
    """Validation needs no whole batches: they may be as small as the parts of those of training."""
    return batch if atoms is None else BatchSpec(atoms=atoms)


def _frame_weights(data: TrainingData) -> np.ndarray | None:
    """Of the frames to fit; None: all are 1."""
    weights = data.frame_weights
    return None if bool((weights == 1).all()) else weights


def _batches(recipe: Recipe, frames: Sequence[Structure]) -> Batches:
    return Batches(frames, recipe.model.cutoff, recipe.train.batch, recipe.model.graph.backend)
