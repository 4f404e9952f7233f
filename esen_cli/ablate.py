"""`esen ablate`."""

import sys
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esen.errors import InputError
from esen_cli.compare import print_comparison
from esen_cli.options import Device, output_option
from esen_cli.output import RUNS, print_paths, print_table, say, writable

if TYPE_CHECKING:
    from esen.recipe.study import Study, Test
    from esen.study.ablation.cells import Cell, CommandLine

Lines = dict[tuple[str, str], "CommandLine"]


def ablate(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="Study file, or the name of a study that comes with esen.")
    ],
    only: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…",
            help="Compute only these variants, tests, systems and seeds, for example direct,seed=1.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Only show the cells and forecast their time from a measured step per variant."
        ),
    ] = False,
    device: Device = "auto",
    output: Annotated[
        Path | None,
        output_option(
            metavar="FOLDER",
            help="Folder of the study; what it already holds is not computed again.  [default: runs/STUDY]",
        ),
    ] = None,
    retry: Annotated[bool, output_option("--retry", help="Compute failed cells again.")] = False,
    recompute: Annotated[
        bool,
        output_option(
            "--recompute",
            help="Compute cells again whose recipe or options have changed; their earlier files are kept"
            " in FOLDER/earlier.",
        ),
    ] = False,
) -> None:
    """Train variants of a recipe with several seeds, test each, and compare them.

    A second call goes on where the first was stopped. Exit code 1: a cell failed, or is left out because its recipe or
    options have changed since.

    Example: esen ablate recipes/ablation/quick-study.yaml --only default,direct
    """
    from esen.recipe.shipped import find_study
    from esen.recipe.study import load_study

    path = find_study(study)
    loaded = load_study(path)
    absent: set[tuple[str, str, str]] = set()
    lines = _lines(loaded, absent)
    folder = writable((output or RUNS / loaded.name).expanduser())

    from esen.study.ablation.cells import cells_of, needed_of
    from esen.study.ablation.plan import Again
    from esen.study.ablation.run import run_study

    cells = cells_of(loaded, folder, lines)
    chosen, again = _chosen(only, cells), Again(retry, recompute)
    missing = _missing(loaded, needed_of(cells, chosen), absent)
    if dry_run:
        from esen.study.ablation.forecast import forecast_study

        forecast = forecast_study(loaded, folder, lines, chosen, again=again, device=device)
        for rows in forecast.tables:
            print_table(rows)
        say(*forecast.lines, *(f"warning: {line}" for line in missing))
        return
    if missing:
        raise InputError(*missing)
    command = ["esen", "ablate", study, *(["--only", only] if only else []), "--output", str(folder)]
    result = run_study(
        loaded,
        folder,
        lines,
        runner=run_command,
        command=[*command, *([] if device == "auto" else ["--device", device])],
        chosen=chosen,
        again=again,
        device=device,
    )
    if result.comparison is not None:
        print_comparison(result.comparison)
    say(*result.lines)
    print_paths(result.paths, result.links)
    if result.failures:
        say("", *result.failures, "The same command with --retry computes the failed cells again.")
    if result.failures or not result.is_complete:
        raise typer.Exit(1)


def run_command(arguments: Sequence[str]) -> int:
    """Run a command of esen in this process, and return its exit code."""
    from esen_cli.app import app

    sys.argv = ["esen", *arguments]  # what the results say of themselves
    try:
        app(list(arguments))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def _missing(study: "Study", cells: Sequence["Cell"], absent: Collection[tuple[str, str, str]]) -> list[str]:
    """The lines about data that cells need and that are not there, each once.

    Args:
        study: of the cells.
        cells: to compute.
        absent: system, test and line of the files that tests need.
    """
    from esen.recipe.advice import missing_data

    trained = {(cell.system, cell.variant) for cell in cells if cell.is_training}
    tested = {(cell.system, cell.test) for cell in cells}
    recipes = [
        f"{variant.recipe}: {line}"
        for variant in study.variants
        if (variant.system, variant.name) in trained
        for line in missing_data(variant.seeds[study.spec.seeds[0]], variant.recipe.parent)
    ]
    files = [line for system, test, line in sorted(absent) if (system, test) in tested]
    return list(dict.fromkeys(recipes + files))


def _lines(study: "Study", absent: set[tuple[str, str, str]]) -> Lines:
    """The command lines of all tests, by system and test. The files that are not there are added to `absent`.

    Raises:
        InputError: of all mistakes, one line each.
    """
    from esen_cli.app import app
    from esen_cli.arguments import command_line, structure_files

    group = typer.main.get_command(app)
    lines: Lines = {}
    mistakes: list[str] = []
    for test in study.tests:
        siblings = [other for other in study.tests if other.system == test.system]
        files = next((found for other in siblings if (found := structure_files(other.options))), [])
        try:
            lines[test.system, test.name] = command_line(
                test, group, study.path.parent, others=files, need=partial(_add, absent, test)
            )
        except InputError as error:
            mistakes += error.args
    if mistakes:
        raise InputError(*dict.fromkeys(mistakes))
    return lines


def _add(absent: set[tuple[str, str, str]], test: "Test", line: str) -> None:
    absent.add((test.system, test.name, line))


def _chosen(only: str | None, cells: Sequence["Cell"]) -> Callable[["Cell"], bool]:
    """Whether --only chooses a cell: by its variant, test, system or `seed=N`.

    Raises:
        InputError: it names nothing of the study.
    """
    from esen.recipe.mistakes import nearest

    kinds: dict[str, Callable[[Cell], str]] = {
        "variant": lambda cell: cell.variant,
        "test": lambda cell: cell.test,
        "system": lambda cell: cell.system,
        "seed": lambda cell: str(cell.seed),
    }
    words = {kind: {value(cell) for cell in cells} - {""} for kind, value in kinds.items()}
    wanted: dict[str, set[str]] = {}
    for word in [] if only is None else [part.strip() for part in only.split(",")]:
        named, equals, value = word.partition("=")
        if equals and named in kinds and value in words[named]:
            wanted.setdefault(named, set()).add(value)
            continue
        kind = next((kind for kind in ("variant", "test", "system") if word in words[kind]), None)
        if kind is None:
            known = [
                *words["variant"],
                *words["test"],
                *words["system"],
                *(f"seed={s}" for s in words["seed"]),
            ]
            near = nearest(word, known)
            hint = f"did you mean {near}? " if near else ""
            raise InputError(f"--only {word!r}: {hint}the study has {', '.join(sorted(known))}")
        wanted.setdefault(kind, set()).add(word)
    return lambda cell: all(kinds[kind](cell) in values for kind, values in wanted.items())
