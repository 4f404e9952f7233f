"""A whole training: data, stages, checkpoints; resumable."""

from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from esen.errors import InputError
from esen.models.checkpoint import Checkpoint, read_checkpoint, write_atomically
from esen.models.potential import EsenPotential, make_potential
from esen.recipe import Recipe
from esen.recipe.load import dump_recipe
from esen.track import Tracker
from esen.train.dataset import Batches, TrainingData
from esen.train.interrupt import StopSignal
from esen.train.progress import TrainDisplay
from esen.train.record import Record
from esen.train.stage import Stage
from esen.train.state import TrainState


@dataclass(frozen=True)
class FitResult:
    """What a training reached.

    Attributes:
        best: checkpoint with the lowest validation loss.
        last: checkpoint to go on from.
        steps: optimiser steps in all.
        seconds: in all processes that worked on it.
    """

    best: Path
    last: Path
    steps: int
    seconds: float


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
    write_atomically(folder / "recipe.yaml", dump_recipe(recipe).encode())
    state = TrainState.begin(new_potential(recipe, data).to(device), recipe)
    if resumed is not None:
        state.restore(resumed, str(folder / "last.safetensors"))
    record = Record(folder, up_to_step=state.progress.step)
    epochs = tuple(stage.epochs for stage in recipe.train.stages)
    with StopSignal() as stop, TrainDisplay(console, epochs, len(data.train)) as display:
        stage = Stage(
            recipe=recipe,
            state=state,
            train=Batches(data.train, recipe.model.cutoff, recipe.train.batch),
            validation=Batches(data.validation, recipe.model.cutoff, recipe.train.batch),
            folder=folder,
            record=record,
            tracker=tracker,
            display=display,
            stop=stop,
        )
        try:
            for index in range(state.progress.stage, len(epochs)):
                if index > state.progress.stage:
                    state.next_stage(index, recipe)
                stage.run()
        finally:
            record.close()
    progress = state.progress
    return FitResult(
        folder / "best.safetensors", folder / "last.safetensors", progress.step, progress.seconds
    )


def new_potential(recipe: Recipe, data: TrainingData) -> EsenPotential:
    """Random weights from the seed; scale and references from the data."""
    potential = make_potential(recipe.model, seed=recipe.train.seed, elements=data.references.elements)
    potential.set_normalisation(data.scale, data.references.energies)
    return potential.to(torch.float64 if recipe.train.precision == "float64" else torch.float32)


def read_resumable(folder: Path, recipe: Recipe) -> Checkpoint | None:
    """The checkpoint to go on from; None if the run was stopped before it wrote one.

    Raises:
        InputError: it cannot be read, or was made with another model.
    """
    path = folder / "last.safetensors"
    if not path.exists():
        return None
    checkpoint = read_checkpoint(path)
    given = recipe.model_dump(mode="json")["model"]
    for key, value in checkpoint.recipe["model"].items():
        if given.get(key) != value:
            raise InputError(
                f"{path}: was trained with model.{key} = {value}, the recipe says {given.get(key)};"
                " resume with the same model, or train anew"
            )
    return checkpoint
