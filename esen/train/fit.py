"""A whole training: data, stages, checkpoints; resumable."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import torch
from rich.console import Console  # noqa: TID251  # as a type

from esen.errors import InputError
from esen.files import StopSignal, write_atomically
from esen.models.checkpoint import Checkpoint, read_checkpoint, restore_potential, save_checkpoint
from esen.models.potential import EsenPotential, make_potential
from esen.recipe import Recipe, at_stage, describe_stage
from esen.recipe.load import dump_recipe, flatten
from esen.threads import SharedCores
from esen.track import Tracker
from esen.train.batches import Batches
from esen.train.data import Report, TrainingData
from esen.train.distributed import ALONE, Processes
from esen.train.precision import check_steps, matrix_products, prepared
from esen.train.progress import TrainDisplay, reporter
from esen.train.resume import adapt, is_finished, recipe_changes
from esen.train.run_files import LAST, Metrics, best_path, keep_tracking, kept_run_id, rename_best
from esen.train.stage import Stage
from esen.train.state import Progress, TrainState
from esen.train.transfer import Initial, carry_over, initial_potential


def fit(
    recipe: Recipe,
    data: TrainingData,
    folder: Path,
    *,
    tracker: Tracker,
    device: torch.device,
    console: Console,
    start: Checkpoint | Initial | None = None,
    processes: Processes = ALONE,
) -> Progress:
    """Train by a recipe, from the beginning or from a checkpoint, into a folder; return what was reached.

    Args:
        recipe: Recipe of the run; its model is complete if it starts from a checkpoint.
        data: Frames, reference energies, scale.
        folder: Folder of the run.
        tracker: Tracked run; if there are several stages, each has a child of it.
        device: Where to compute.
        console: Shows progress and notes.
        start: The last checkpoint of an interrupted run; or what `train.init_from` names; None for random weights.
        processes: The processes that share the work, each with a folder of its own; the first one's is the run's.

    Raises:
        Interrupted: The user stopped the run by Ctrl-C or SIGTERM; its state is saved.
        InputError: The loss is no longer finite, memory is too small, or the checkpoint does not fit the recipe.
        OSError: The folder cannot be written or the disk is full.
    """
    say = reporter(console)
    for note in check_steps(recipe.train, device):
        say(note)
    if isinstance(start, Checkpoint):
        state = _resume(recipe, data, start, folder, device, say)
    else:
        state = _begin(recipe, data, start, device, say)
        if processes.is_first:  # from now on there is something to resume
            save_checkpoint(folder / LAST, state.full_checkpoint(recipe, {}))
    if not isinstance(start, Checkpoint) or not is_finished(start, recipe):
        write_atomically(folder / "recipe.yaml", dump_recipe(recipe))  # a finished run keeps its own
    tracker.artifact(folder / "recipe.yaml")
    metrics = Metrics(folder, up_to_step=state.progress.step, validated=state.progress.batch == 0)
    epochs = tuple(stage.epochs for stage in recipe.train.stages)
    display = TrainDisplay(console, epochs, len(data.train))
    train, validation = (
        Batches(frames, recipe.model.cutoff, recipe.train.batch, recipe.model.graph.backend)
        for frames in (data.train, data.validation)
    )
    cores = SharedCores(display.line) if device.type == "cpu" else None
    with (
        closing(metrics),
        StopSignal(display.stopping, grace=processes.grace) as stop,
        display,
        matrix_products(recipe.train.precision, device),
    ):
        if cores is not None:
            cores.start()
        for index in range(state.progress.stage, len(epochs)):
            if index > state.progress.stage:
                state = _next_stage(state, recipe, folder, processes)
                display.line(
                    f"{describe_stage(recipe, index)}: {epochs[index]} epochs, from the best weights so far"
                )
            with _trackers(recipe, index, folder, tracker) as trackers:
                Stage(
                    recipe=recipe,
                    state=state,
                    train=train,
                    validation=validation,
                    folder=folder,
                    metrics=metrics,
                    trackers=trackers,
                    display=display,
                    stop=stop,
                    processes=processes,
                    cores=cores,
                ).run()
    return state.progress


def _begin(
    recipe: Recipe, data: TrainingData, initial: Initial | None, device: torch.device, say: Report
) -> TrainState:
    """Return the state at step 0 of the first stage."""
    here = at_stage(recipe, 0)
    if initial is None:
        state = TrainState.begin(new_potential(here, data).to(device), here)
    else:
        state = TrainState.begin(initial_potential(initial, recipe, data, say).to(device), here)
        state.origin = initial.origin(recipe)
    state.progress.data = data.fingerprint
    return state


def _resume(
    recipe: Recipe, data: TrainingData, resumed: Checkpoint, folder: Path, device: torch.device, say: Report
) -> TrainState:
    """Return the state at which the run was stopped."""
    last = folder / LAST
    stage = min(int(resumed.progress["stage"]), len(recipe.train.stages) - 1)
    here = at_stage(recipe, stage)
    state = TrainState.begin(new_potential(here, data).to(device), here)
    state.restore(resumed, str(last))
    rename_best(folder, recipe, stage)
    best = best_path(folder, recipe, stage)
    has_best = best.exists()
    try:
        if has_best:
            read_checkpoint(best)
    except InputError as error:
        has_best = False
        say(f"warning: {error}; the next validation writes them anew")
    adapt(state.progress, recipe_changes(resumed, recipe, last), has_best=has_best)
    state.progress.data = data.fingerprint
    return state


def _next_stage(state: TrainState, recipe: Recipe, folder: Path, processes: Processes) -> TrainState:
    """Return the state at the start of the next stage, with the best weights so far or, if they are lost, the last."""
    stage = state.progress.stage
    best = best_path(folder, recipe, stage)
    source = state.evaluated()
    if best.exists():
        found = restore_potential(read_checkpoint(best), str(best))
        source = prepared(found, recipe.train).to(source.scale.device)
    here = at_stage(recipe, stage + 1)
    potential = prepared(carry_over(source, here.model, seed=recipe.train.seed), recipe.train)
    processes.copy_first(potential.state_dict().values())
    return state.next_stage(potential, here)


@contextmanager
def _trackers(recipe: Recipe, index: int, folder: Path, tracker: Tracker) -> Iterator[tuple[Tracker, ...]]:
    """Give the tracked run and, if there are several stages, a run of the stage beneath it."""
    if len(recipe.train.stages) == 1:
        yield (tracker,)
        return
    child = tracker.child(describe_stage(recipe, index), kept_run_id(folder, stage=index))
    try:
        with child:
            child.params(flatten(at_stage(recipe, index)))
            yield tracker, child
    finally:
        keep_tracking(folder, child.run_id, stage=index)


def new_potential(recipe: Recipe, data: TrainingData) -> EsenPotential:
    """Return a potential with random weights drawn from the seed, and scale and reference energies of the data."""
    potential = make_potential(recipe.model, seed=recipe.train.seed, elements=data.references.elements)
    potential.set_normalisation(data.scale, data.references.energies)
    return prepared(potential, recipe.train)
