"""What a recipe asks for, and then makes no use of."""

from esen.recipe.recipe import Recipe


def advice(recipe: Recipe) -> list[str]:
    """A line for each thing that is legal and probably not meant."""
    lines = []
    stages = recipe.train.stages
    if (
        recipe.model.dens
        and not any(stage.dens is not None for stage in stages)
        and any(s.epochs for s in stages)
    ):
        lines.append(
            "model.dens is true, but no stage of train.stages has `dens`: the parts for denoising are not trained;"
            " write dens: {} in a stage, or leave model.dens out"
        )
    return lines
