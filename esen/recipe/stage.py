"""What a stage makes of the recipe: the sections it overrides, and the network it needs."""

from esen.recipe.recipe import Recipe
from esen.recipe.train import stage_model

_SECTIONS = ("batch", "optimizer", "schedule", "loss", "freeze")


def at_stage(recipe: Recipe, index: int) -> Recipe:
    """The recipe as it holds in one stage: `model` and `train` with what the stage overrides.

    Args:
        recipe: of the run.
        index: of the stage, from 0.
    """
    stage = recipe.train.stages[index]
    stated = {name: value for name in _SECTIONS if (value := getattr(stage, name)) is not None}
    train = recipe.train.model_copy(update=stated)
    return recipe.model_copy(update={"model": stage_model(recipe.model, stage), "train": train})


def describe_stage(recipe: Recipe, index: int) -> str:
    """In a few words.

    >>> from esen.recipe import DataSpec, DensSpec, DirectSpec, Recipe, SourceSpec, StageSpec, TrainSpec
    >>> stages = (StageSpec(epochs=2, forces=DirectSpec(), dens=DensSpec()), StageSpec(epochs=1))
    >>> recipe = Recipe(data=DataSpec(train=(SourceSpec(path="a"),)), train=TrainSpec(stages=stages))
    >>> describe_stage(recipe, 0), describe_stage(recipe, 1)
    ('stage 1: direct, DeNS', 'stage 2: conservative')
    """
    stage = recipe.train.stages[index]
    forces = stage_model(recipe.model, stage).forces.kind
    return f"stage {index + 1}: {forces}{', DeNS' if stage.dens is not None else ''}"
