"""A whole training: data, stages, checkpoints; resumable."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from esen.data.structure import Structure
from esen.models.checkpoint import Checkpoint, save_checkpoint, write_atomically
from esen.models.potential import EsenPotential, make_potential
from esen.recipe import Recipe
from esen.recipe.load import dump_recipe
from esen.track import Tracker
from esen.train.dataset import Batches, TrainingData
from esen.train.interrupt import StopSignal
from esen.train.progress import TrainDisplay
from esen.train.record import Record
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
    resumed: Checkpoint | None = None,
) -> FitResult:
    """Train as the recipe says, from the beginning or from a checkpoint, into a folder.

    Raises:
        Interrupted: by Ctrl-C or SIGTERM, after saving.
        InputError: the loss is no longer a number, memory is too small, the checkpoint does not fit.
        OSError: the folder cannot be written, the disk is full.
    """
    state = TrainState.begin(new_potential(recipe, data).to(device), recipe)
    if resumed is not None:
        last = folder / "last.safetensors"
        state.restore(resumed, str(last))
        changes = recipe_changes(resumed, recipe, last)
        adapt(state.progress, changes, has_best=(folder / "best.safetensors").exists())
    state.progress.data = data.fingerprint
    if resumed is None:  # from now on there is something to go on from
        save_checkpoint(folder / "last.safetensors", state.full_checkpoint(recipe, {}))
    if resumed is None or not is_finished(resumed, recipe):  # what was trained stays as it was described
        write_atomically(folder / "recipe.yaml", dump_recipe(recipe).encode())
    tracker.artifact(folder / "recipe.yaml")
    record = Record(folder, up_to_step=state.progress.step, validated=state.progress.batch == 0)
    epochs = tuple(stage.epochs for stage in recipe.train.stages)
    display = TrainDisplay(console, epochs, len(data.train))
    with closing(record), StopSignal(display.stopping) as stop, display:
        stage = Stage(
            recipe=recipe,
            state=state,
            train=_batches(recipe, data.train),
            validation=_batches(recipe, data.validation),
            folder=folder,
            record=record,
            tracker=tracker,
            display=display,
            stop=stop,
        )
        for index in range(state.progress.stage, len(epochs)):
            if index > state.progress.stage:
                state.next_stage(index, recipe)
            stage.run()
    progress = state.progress
    return FitResult(folder / "last.safetensors", progress.step, progress.seconds, str(device))


def new_potential(recipe: Recipe, data: TrainingData) -> EsenPotential:
    """Random weights from the seed; scale and references from the data."""
    potential = make_potential(recipe.model, seed=recipe.train.seed, elements=data.references.elements)
    potential.use_memory(recipe.train.memory)
    potential.set_normalisation(data.scale, data.references.energies)
    return potential.to(torch.float64 if recipe.train.precision == "float64" else torch.float32)


def _batches(recipe: Recipe, frames: list[Structure]) -> Batches:
    return Batches(frames, recipe.model.cutoff, recipe.train.batch, recipe.model.graph.backend)
