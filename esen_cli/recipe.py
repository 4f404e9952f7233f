"""`esen recipe`: look at recipes without running them."""

import glob
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esen.errors import InputError
from esen_cli.shipped import find_recipe, shipped_recipes
from esen_cli.train import Overrides

if TYPE_CHECKING:
    from esen.recipe import Recipe

recipe_app = typer.Typer(
    help="Show, check and list recipes.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)


@recipe_app.command()
def show(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or the name of one in `esen recipe list`.")],
    overrides: Overrides = None,
) -> None:
    """Print a recipe with every default filled in, its parameter count and the cost of one step."""
    from esen.recipe import dump_recipe, load_recipe

    path = find_recipe(recipe)
    loaded = load_recipe(path, overrides or ())
    typer.echo(dump_recipe(loaded), nl=False)
    for line in (*describe_cost(loaded), f"data paths start at: {path.parent.absolute()}"):
        typer.echo(f"# {line}")


@recipe_app.command()
def validate(
    recipes: Annotated[list[str], typer.Argument(help="Recipe files, or names of shipped recipes.")],
    overrides: Overrides = None,
) -> None:
    """Check recipes; exit code 2 if one has a mistake. Data that is not there is only a warning."""
    from esen.recipe import load_recipe
    from esen.recipe.advice import advice

    mistakes = []
    for name in recipes:
        try:
            path = find_recipe(name)
            loaded = load_recipe(path, overrides or ())
        except InputError as error:
            mistakes.append(str(error))
            continue
        typer.echo(f"{path}: ok")
        for line in advice(loaded):
            typer.echo(f"warning: {path}: {line}", err=True)
        for source in missing_data(loaded, path.parent):
            typer.echo(f"warning: {path}: no data at {source}", err=True)
    if mistakes:
        raise InputError("\n".join(mistakes))


@recipe_app.command()
def schema() -> None:
    """Print the JSON Schema of recipes, by which an editor completes and checks them."""
    import json

    from esen.recipe import Recipe
    from esen.recipe.load import EXTENDS

    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    described = dialect | Recipe.model_json_schema()
    described["properties"][EXTENDS] = {
        "type": "string",
        "description": "Another recipe; this one states only what differs from it.",
    }
    described["anyOf"] = [{"required": described.pop("required")}, {"required": [EXTENDS]}]
    typer.echo(json.dumps(described, indent=2, ensure_ascii=False))


@recipe_app.command("list")
def list_recipes() -> None:
    """List the recipes that come with esen."""
    from esen.recipe import load_recipe, parameter_count

    shipped = shipped_recipes()
    width = max(map(len, shipped), default=0)
    for name, path in shipped.items():
        count = parameter_count(load_recipe(path).model)
        typer.echo(f"{name:<{width}}  {count:>11,} parameters  {_description(path)}")


def describe_cost(recipe: "Recipe") -> list[str]:
    """Parameters and arithmetic of a recipe, as lines of text."""
    from esen.recipe.cost import ATOMS_PER_STRUCTURE, parameter_count, step_cost

    cost = step_cost(recipe.model, recipe.train.batch)
    batch = f"{cost.atoms:,} atoms"
    if recipe.train.batch.structures is not None:
        batch += f" ({recipe.train.batch.structures:,} structures, taken as {ATOMS_PER_STRUCTURE} atoms each)"
    return [
        f"parameters: {parameter_count(recipe.model):,}",
        f"forward pass: {cost.edge_layer / 1e6:.2f} MFLOP per edge and layer, of which SO(2) convolutions "
        f"{cost.convolution1 / 1e6:.2f} + {cost.convolution2 / 1e6:.2f}, radial {cost.radial / 1e6:.2f}, "
        f"rotations {cost.rotation / 1e6:.3f}",
        f"neighbours per atom: about {cost.neighbours:.0f} within {recipe.model.cutoff:g} Å, "
        f"estimated at {cost.density:g} atoms/Å³",
        f"energy, forces and stress: {cost.inference / 1e9:.2f} GFLOP per atom ({cost.inference_passes} × forward)",
        f"one training step: {_flop(cost.training)} for {batch} ({cost.training_passes} × forward)",
        *_stages(recipe),
    ]


def _stages(recipe: "Recipe") -> list[str]:
    """Where there are several: what each has of its own."""
    from esen.recipe import at_stage, describe_stage
    from esen.recipe.cost import parameter_count, step_cost

    lines = []
    for index, stage in enumerate(recipe.train.stages if len(recipe.train.stages) > 1 else ()):
        here = at_stage(recipe, index)
        step = _flop(step_cost(here.model, here.train.batch).training)
        count = f"{parameter_count(here.model):,} parameters"
        lines.append(f"{describe_stage(recipe, index)}: {stage.epochs} epochs, {count}, {step} a step")
    return lines


def missing_data(recipe: "Recipe", folder: Path) -> list[str]:
    """Data paths and patterns of a recipe at which there is nothing, and the checkpoint to start from."""
    from esen.recipe import resolve_paths

    resolved = resolve_paths(recipe, folder)
    data, start = resolved.data, resolved.train.init_from
    paths = [source.path for source in (*data.train, *data.validation, *data.test)]
    paths += [] if start is None else [start]
    return [path for path in paths if not Path(path).exists() and not glob.glob(path, recursive=True)]  # noqa: PTH207


def _description(path: Path) -> str:
    """The first comment of a recipe."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((line.lstrip("# ") for line in lines if line.startswith("#")), "")


def _flop(value: float) -> str:
    for unit, size in (("PFLOP", 1e15), ("TFLOP", 1e12)):
        if value >= size:
            return f"{value / size:.2f} {unit}"
    return f"{value / 1e9:.2f} GFLOP"
