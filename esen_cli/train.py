"""`esen train`."""

from pathlib import Path
from typing import Annotated

import typer

from esen_cli.options import Device, device_option, output_option
from esen_cli.output import RUNS, chosen_folder, fresh_folder, print_paths, print_table, writable

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
            help="Resume the run in --output, or else the newest unfinished run of the recipe, with its --set.",
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
            max=1024,
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

    path, changes = find_recipe(recipe), tuple(overrides or ())
    loaded = resolve_paths(load_recipe(path, changes), path.parent)
    if threads is not None:
        use_threads(threads)
    if dry_run:
        from esen.study.forecast import forecast_training

        print_table(forecast_training(loaded, device=device).rows)
        return
    given = None if output is None else chosen_folder(output, resume=resume)
    from esen.study.source import RunSource, unfinished_run
    from esen.study.train import run_training

    source = RunSource(path, changes)
    if resume:
        folder = given or writable(unfinished_run(source, RUNS))
        source = source.resuming(folder)
        loaded = source.load()
    else:
        folder = given or fresh_folder(path.stem)
    result = run_training(loaded, folder, resume=resume, device=device, source=source)
    print_table(result.summary)
    print_paths(result.paths, result.links)
