"""`esen recipe`: write recipes, and look at them without running them."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from esen.errors import InputError
from esen_cli.help import HelpfulApp
from esen_cli.options import Device, output_option
from esen_cli.output import print_paths, print_table, say
from esen_cli.train import Overrides, RecipeName

if TYPE_CHECKING:
    from esen.recipe import Recipe

recipe_app = HelpfulApp("Write, show, check and list recipes.")


def show(
    recipe: RecipeName,
    overrides: Overrides = None,
) -> None:
    """Print a recipe with every default filled in, its parameter count and the cost of one step.

    Example: esen recipe show quickstart --set model.lmax=3
    """
    from esen.recipe import dump_recipe, load_recipe
    from esen.recipe.shipped import find_recipe

    path = find_recipe(recipe)
    loaded = load_recipe(path, overrides or ())
    about = (*describe_cost(loaded), f"data paths start at: {path.parent.absolute()}")
    say(*dump_recipe(loaded).splitlines(), *(f"# {line}" for line in about))


def new(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA", help="Files, folders or glob patterns of frames with energies or forces."
        ),
    ],
    output: Annotated[Path, output_option(metavar="FILE", help="Recipe to write; it must not exist.")] = Path(
        "recipe.yaml"
    ),
    size: Annotated[
        Literal["small", "medium", "large"] | None,
        typer.Option(help="Size of the network.  [default: by the number of atoms in the frames]"),
    ] = None,
    cutoff: Annotated[
        float | None,
        typer.Option(metavar="Å", min=1, help="Cutoff in Å.  [default: by the number of neighbours]"),
    ] = None,
    hours: Annotated[
        float,
        typer.Option(metavar="H", min=0.001, help="Time that the training may take on this machine, in h."),
    ] = 1.0,
    device: Device = "auto",
) -> None:
    """Write a recipe of the right size for your frames, and forecast its time on this machine.

    Example: esen recipe new frames.xyz --hours 2
    """
    from esen.study.new_recipe import write_new_recipe

    rows = write_new_recipe(
        data, output, partial(say, err=True), size=size, cutoff=cutoff, hours=hours, device=device
    )
    print_table(rows)
    print_paths({"recipe": output})


def validate(
    recipes: Annotated[
        list[str], typer.Argument(metavar="RECIPE", help="Recipe files, or names of shipped recipes.")
    ],
    overrides: Overrides = None,
) -> None:
    """Check recipes. The exit code is 2 if one has a mistake; missing data is only a warning.

    Example: esen recipe validate my.yaml
    """
    from esen.recipe import load_recipe
    from esen.recipe.advice import advice, missing_data
    from esen.recipe.shipped import find_recipe

    mistakes: list[str] = []
    for name in recipes:
        path = find_recipe(name)
        try:
            loaded = load_recipe(path, overrides or ())
        except InputError as error:
            mistakes += error.args
            continue
        say(f"{path}: ok")
        for line in (*advice(loaded), *missing_data(loaded, path.parent)):
            say(f"warning: {path}: {line}", err=True)
    if mistakes:
        raise InputError(*mistakes)


def schema(
    study: Annotated[
        bool, typer.Option("--study", help="Print the schema of studies (esen ablate).")
    ] = False,
) -> None:
    """Print the JSON Schema of recipes, with which an editor completes and checks them.

    Example: esen recipe schema > recipe.schema.json
    """
    import json

    from esen.recipe.load import file_schema
    from esen.recipe.study import study_schema

    found = study_schema() if study else file_schema()
    say(*json.dumps(found, indent=2, ensure_ascii=False).splitlines())


def list_recipes() -> None:
    """List the recipes that come with esen, and the studies, whose names end with `study`.

    Example: esen recipe list
    """
    from esen.recipe.shipped import shipped_recipes, shipped_studies

    shipped = shipped_recipes() | shipped_studies()
    width = max(map(len, shipped), default=0)
    for name, path in shipped.items():
        say(f"{name:<{width}}  {_description(path)}")


def describe_cost(recipe: "Recipe") -> list[str]:
    """Parameters and arithmetic of a recipe, as lines of text."""
    from esen.models.cost import ATOMS_PER_STRUCTURE, parameter_count, step_cost
    from esen.recipe import at_stage, describe_stage

    cost = step_cost(recipe.model, recipe.train.batch)
    batch = f"{cost.atoms:,} atoms"
    if recipe.train.batch.structures is not None:
        batch += f" ({recipe.train.batch.structures:,} structures, taken as {ATOMS_PER_STRUCTURE} atoms each)"
    lines = [
        f"parameters: {parameter_count(recipe.model):,}",
        f"forward pass: {cost.edge_layer / 1e6:.2f} MFLOP per edge and layer, of which SO(2) convolutions "
        f"{cost.convolution1 / 1e6:.2f} + {cost.convolution2 / 1e6:.2f}, radial {cost.radial / 1e6:.2f}, "
        f"rotations {cost.rotation / 1e6:.3f}",
        f"neighbours per atom: about {cost.neighbours:.0f} within {recipe.model.cutoff:g} Å, "
        f"estimated at {cost.density:g} atoms/Å³",
        f"energy, forces and stress: {cost.inference / 1e9:.2f} GFLOP per atom ({cost.inference_passes} × forward)",
        f"one training step: {_flop(cost.training)} for {batch} ({cost.training_passes} × forward)",
    ]
    stages = recipe.train.stages
    for index, stage in enumerate(stages if len(stages) > 1 else ()):
        here = at_stage(recipe, index)
        step = _flop(step_cost(here.model, here.train.batch).training)
        count = f"{parameter_count(here.model):,} parameters"
        lines.append(f"{describe_stage(recipe, index)}: {stage.epochs} epochs, {count}, {step} per step")
    return lines


def _description(path: Path) -> str:
    """The first comment of a recipe."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((line.lstrip("# ") for line in lines if line.startswith("#")), "")


def _flop(value: float) -> str:
    for unit, size in (("PFLOP", 1e15), ("TFLOP", 1e12)):
        if value >= size:
            return f"{value / size:.2f} {unit}"
    return f"{value / 1e9:.2f} GFLOP"


recipe_app.command()(new)
recipe_app.command()(show)
recipe_app.command()(validate)
recipe_app.command()(schema)
recipe_app.command("list")(list_recipes)
