"""Resuming a run: which keys of the recipe may have changed since, and what follows from them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from esen.errors import InputError
from esen.models.checkpoint import Checkpoint, read_checkpoint
from esen.recipe import Recipe
from esen.train.data import TrainingData
from esen.train.run_files import LAST
from esen.train.state import Progress
from esen.train.transfer import changed_keys, inherit_model

_FIXED = ("model.", "data.references", "train.init_from", "train.renew", "train.optimizer.kind")
_FREE = ("model.graph.backend",)  # may change although `model.` is fixed: the edges are the same
_MOST_CHANGES = 6


def read_resumable(folder: Path, recipe: Recipe) -> Checkpoint | None:
    """Return the checkpoint to resume from; None if the run was stopped before it wrote one.

    Raises:
        InputError: It cannot be read, holds no state of training, or was made with another model.
    """
    path = folder / LAST
    if not path.exists():
        return None
    checkpoint = read_checkpoint(path)
    if not checkpoint.progress:
        raise InputError(f"{path}: holds weights but no state of training, so nothing can be resumed from it")
    begun = checkpoint.progress["stage"]
    recipe = inherit_model(recipe, run_model(checkpoint), str(path))[0]
    for key, (before, now) in recipe_changes(checkpoint, recipe, path).items():
        if (key.startswith(_FIXED) and key not in _FREE) or _changes_stage(key, before, now, begun, recipe):
            raise InputError(
                f"{path}: was trained with {key} = {before}, the recipe says {now};"
                " resume with the recipe of that run, or train anew"
            )
    return checkpoint


def _changes_stage(key: str, before: Any, now: Any, begun: int, recipe: Recipe) -> bool:
    """Tell whether a stage that was begun would have another network, or its optimiser another state."""
    found = re.match(r"train\.stages\.(\d+)\.(forces|dens|optimizer\.kind)\b", key)
    if found is None or int(found[1]) > begun:
        return False
    if found[2] == "optimizer.kind":  # none: that of the training
        before, now = (recipe.train.optimizer.kind if kind == "none" else kind for kind in (before, now))
        return bool(before != now)
    return found[2] == "forces" or "none" in (before, now)


def run_model(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return `model` of the run's recipe; that of the checkpoint's own recipe belongs to its stage."""
    model: dict[str, Any] = checkpoint.progress.get("model", checkpoint.recipe["model"])
    return model


def recipe_changes(checkpoint: Checkpoint, recipe: Recipe, path: Path) -> dict[str, tuple[Any, Any]]:
    """Return each key that differs from the checkpoint's recipe, with the value before and now.

    Raises:
        InputError: The checkpoint's recipe is not valid; `path` names the file.
    """
    try:
        before = Recipe.model_validate(checkpoint.recipe | {"model": run_model(checkpoint)})
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise InputError(
            f"{path}: its recipe does not fit this version of esen ({place}); train anew"
        ) from error
    return changed_keys(before, recipe)


def check_same_data(checkpoint: Checkpoint, data: TrainingData, folder: Path) -> None:
    """Refuse other frames, because frames held out for validation so far would be trained on.

    Raises:
        InputError: The frames differ.
    """
    if checkpoint.progress.get("data", data.fingerprint) != data.fingerprint:
        raise InputError(
            f"{folder / LAST}: was trained on other frames, or with others held out for validation"
            " (train.seed); resume with the data of that run, or train anew"
        )


def adapt(progress: Progress, changes: Mapping[str, Any], *, has_best: bool) -> None:
    """Adapt the progress to a recipe that has changed since.

    With other batches the epoch begins again; with another loss, or if the best weights are lost, the search for the
    best begins again. The learning rate follows from the recipe and the place in the stage, so that other `epochs`
    change the rest of its curve without further action.
    """
    stage = rf"train\.(stages\.{progress.stage}\.)?"
    if any(re.match(stage + r"batch\b", key) for key in changes):
        progress.batch = 0
    if not has_best or any(re.match(stage + r"loss\b", key) for key in changes):
        progress.best = None


def is_finished(checkpoint: Checkpoint, recipe: Recipe) -> bool:
    """Tell whether no epoch is left."""
    stages, at = recipe.train.stages, checkpoint.progress
    left = sum(stage.epochs for stage in stages[at["stage"] + 1 :])
    return left == 0 and (at["stage"] >= len(stages) or bool(at["epoch"] >= stages[at["stage"]].epochs))


def resume_notes(folder: Path, checkpoint: Checkpoint | None, recipe: Recipe) -> list[str]:
    """Return lines for the user: where the run is resumed, and which keys of the recipe have changed."""
    if checkpoint is None:
        return [f"resuming {folder}: it was stopped before its first checkpoint, so it begins at step 0"]
    at = checkpoint.progress
    lines = []
    if is_finished(checkpoint, recipe):
        lines.append(
            f"resuming {folder}: the training is finished, at step {at['step']}; only the evaluation is done again"
            " (raise train.stages epochs to train on)"
        )
    else:
        stages = recipe.train.stages
        stage, epoch = at["stage"], at["epoch"]
        if epoch >= stages[stage].epochs:
            stage, epoch = stage + 1, 0
        name = f"stage {stage + 1}, " if len(stages) > 1 else ""
        lines.append(
            f"resuming {folder}: at step {at['step']}, {name}epoch {epoch + 1} of {stages[stage].epochs},"
            f" from its last checkpoint"
        )
    changes = recipe_changes(checkpoint, recipe, folder / LAST)
    if changes:
        said = [f"{key} {before} → {now}" for key, (before, now) in changes.items()]
        more = f", and {len(said) - _MOST_CHANGES} more" if len(said) > _MOST_CHANGES else ""
        lines.append(f"note: the recipe has changed: {', '.join(said[:_MOST_CHANGES])}{more}")
    return lines
