"""Where the best weights of each stage lie: `best.safetensors` is of the last one, whatever came before."""

from pathlib import Path

from esen.recipe import Recipe

BEST = "best.safetensors"


def best_path(folder: Path, recipe: Recipe, stage: int) -> Path:
    """`best.safetensors` of the last stage, `best-stage1.safetensors` of the first of several, and so on."""
    is_last = stage >= len(recipe.train.stages) - 1
    return folder / (BEST if is_last else f"best-stage{stage + 1}.safetensors")


def settle_best(folder: Path, recipe: Recipe, stage: int) -> None:
    """Give the best weights of a stage the name that they have by the recipe, to which stages may have been added.

    Only a last stage writes `best.safetensors`, so what lies there is of the stage that was the last when it ran.
    """
    now = best_path(folder, recipe, stage)
    before = folder / (f"best-stage{stage + 1}.safetensors" if now.name == BEST else BEST)
    if before.exists() and not now.exists():
        before.replace(now)
