"""`esen train`."""

from pathlib import Path
from typing import Annotated

import typer

from esen_cli.options import Device, device_option, output_option
from esen_cli.output import chosen_folder, fresh_folder, print_paths, print_table, started_folder

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a key of the recipe, such as model.lmax=3. Repeatable."
    ),
]

RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="Recipe file, or the name of a recipe in `esen recipe list`.")
]


def train(
    recipe: RecipeName,
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        output_option(metavar="FOLDER", help="Folder of the run.  [default: a new folder runs/RECIPE]"),
    ] = None,
    resume: Annotated[
        bool,
        output_option(
            "--resume",
            help="Resume the run in --output, or else the newest run of the recipe, from its last checkpoint.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only forecast the steps, memory and time of the training.")
    ] = False,
    device: Device = "auto",
    threads: Annotated[
        int | None,
        device_option(
            metavar="N",
            min=1,
            help="Number of CPU threads, fixed for the run.  [default: adapted to the cores that are free]",
        ),
    ] = None,
) -> None:
    """Train a potential by a recipe, and evaluate it on the test frames.

    Example: esen train quickstart --set train.seed=1
    """
    from esen.recipe import load_recipe, resolve_paths
    from esen.recipe.shipped import find_recipe
    from esen.threads import use_threads

    path = find_recipe(recipe)
    loaded = resolve_paths(load_recipe(path, overrides or ()), path.parent)
    if threads is not None:
        use_threads(threads)
    if dry_run:
        from esen.study.forecast import forecast_training

        print_table(forecast_training(loaded, device=device).rows)
        return
    if output is not None:
        folder = chosen_folder(output, resume=resume)
    else:
        folder = started_folder(path) if resume else fresh_folder(path.stem)
    from esen.study.train import run_training

    result = run_training(loaded, folder, resume=resume, device=device)
    print_table(result.summary)
    print_paths(result.paths)
