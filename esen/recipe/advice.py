"""What is legal in a recipe and probably not meant."""

import glob
from pathlib import Path

from esen.recipe.load import resolve_paths
from esen.recipe.recipe import Recipe


def advice(recipe: Recipe) -> list[str]:
    """One line for each part of a recipe that has no effect, or not the one that it is for."""
    stages, lines = recipe.train.stages, []
    for number, stage in enumerate(stages, start=1):
        warmup = (stage.schedule or recipe.train.schedule).warmup_epochs
        if stage.epochs and warmup >= stage.epochs:
            lines.append(
                f"train.schedule.warmup_epochs is {warmup:g}, but stage {number} has {stage.epochs} epochs: the"
                " learning rate never reaches train.optimizer.learning_rate; give a shorter warm-up"
            )
    trained = any(stage.epochs for stage in stages)
    if recipe.model.dens and trained and not any(stage.dens is not None for stage in stages):
        lines.append(
            "model.dens is true, but no stage of train.stages has `dens`: the parts for denoising are not trained;"
            " write dens: {} in a stage, or leave model.dens out"
        )
    return lines


def missing_data(recipe: Recipe, folder: Path) -> list[str]:
    """One line for each data path or pattern that names nothing, and for a missing checkpoint to start from.

    Args:
        recipe: as loaded.
        folder: the recipe's folder, where relative paths start.
    """
    resolved = resolve_paths(recipe, folder)
    data, start = resolved.data, resolved.train.init_from
    paths = [source.path for source in (*data.train, *data.validation, *data.test)]
    paths += [] if start is None else [start]
    there = (Path(path).exists() or glob.glob(path, recursive=True) for path in paths)  # noqa: PTH207
    return [f"no data at {path}" for path, found in zip(paths, there, strict=True) if not found]
