"""`esen data`: make, describe and check training data."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from esen_cli import options as opt
from esen_cli.help import HelpfulApp
from esen_cli.output import print_paths, print_table, say, writable

if TYPE_CHECKING:
    from esen.data.readers import Files
    from esen.study.data import DataResult

data_app = HelpfulApp("Convert, describe and check training data.")

Data = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA",
        help="Files of any format that esen reads, folders, glob patterns, or training sets (docs/formats.md).",
    ),
]
Format = Annotated[
    str,
    opt.structures_option(
        "--format", metavar="FORMAT", help="Format of all files; auto: each shows its own."
    ),
]
JsonFile = Annotated[
    Path | None, opt.output_option("--output", "-o", metavar="FILE", help="Write JSON to this file.")
]


@data_app.command()
def convert(  # noqa: PLR0913, PLR0917  # the options of a command are its arguments
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE", help="Files, folders or glob patterns.")],
    output: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The training set, such as mptrj.esendata.")
    ],
    kind: Format = "auto",
    frames: opt.Frames = ":",
    energy_key: opt.EnergyKey = "energy",
    forces_key: opt.ForcesKey = "forces",
    stress_key: opt.StressKey = "stress",
    stress_convention: opt.StressConvention = "ase",
    processes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Number of worker processes.  [default: one per CPU; one for small inputs]",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--restart", help="Resume an earlier conversion, or start over.")
    ] = True,
    count_edges: Annotated[
        float | None,
        typer.Option(metavar="Å", min=0.1, help="Also count the edges up to this distance."),
    ] = None,
) -> None:
    """Make one memory-mapped training set. If it is stopped, the same command resumes it.

    Example: esen data convert frames/ mptrj.esendata --processes 8
    """
    folder = writable(output)

    from esen.data.readers import Reading
    from esen.study.data import run_convert

    reading = Reading(energy_key, forces_key, stress_key, stress_convention, required=())
    files = _files(sources, kind, frames)
    print_data(
        run_convert(files, folder, reading, processes=processes, resume=resume, edges_cutoff=count_edges)
    )


@data_app.command()
def info(
    paths: Data,
    kind: Format = "auto",
    frames: opt.Frames = ":",
    energy_key: opt.EnergyKey = "energy",
    forces_key: opt.ForcesKey = "forces",
    stress_key: opt.StressKey = "stress",
    stress_convention: opt.StressConvention = "ase",
) -> None:
    """Describe data: frames, sizes, elements, labels, units.

    Example: esen data info mptrj.esendata
    """
    from esen.data.readers import Reading
    from esen.study.data import run_info

    reading = Reading(energy_key, forces_key, stress_key, stress_convention, required=())
    print_data(run_info(_files(paths, kind, frames), reading))


@data_app.command()
def references(
    paths: Data,
    method: Annotated[
        Literal["least_squares", "isolated_atoms"],
        typer.Option(help="Fit to all frames, or take frames of isolated atoms."),
    ] = "least_squares",
    output: JsonFile = None,
    kind: Format = "auto",
    frames: opt.Frames = ":",
    energy_key: opt.EnergyKey = "energy",
) -> None:
    """Compute the reference energies of the elements, for `data.references: {file: …}` of a recipe.

    Example: esen data references train.xyz -o references.json
    """
    from esen.data.readers import Reading
    from esen.study.data import run_references

    reading = Reading(energy_key, required=())
    print_data(run_references(_files(paths, kind, frames), reading, method, output))


@data_app.command()
def check(  # noqa: PLR0913, PLR0917  # the options of a command are its arguments
    paths: Data,
    potential: Annotated[
        str | None,
        opt.potentials_option(
            metavar="POTENTIAL", help=f"Compare the stresses with its energies: {opt.POTENTIAL_HELP}."
        ),
    ] = None,
    calculator_args: opt.CalculatorArgs = None,
    output: JsonFile = None,
    most: Annotated[
        int, typer.Option(metavar="N", min=1, help="Largest number of frames whose structures are checked.")
    ] = 20_000,
    kind: Format = "auto",
    frames: opt.Frames = ":",
    energy_key: opt.EnergyKey = "energy",
    forces_key: opt.ForcesKey = "forces",
    stress_key: opt.StressKey = "stress",
    stress_convention: opt.StressConvention = "ase",
) -> None:
    """Find mistakes in data: labels, outliers, duplicates, units, stresses. Exit code 1: something is wrong.

    Example: esen data check train.xyz --potential emt
    """
    from esen.data.readers import Reading
    from esen.study.data_check import run_check

    result = run_check(
        _files(paths, kind, frames),
        Reading(energy_key, forces_key, stress_key, stress_convention, required=()),
        potential=potential,
        calculator_args=calculator_args or (),
        output=output,
        most=most,
    )
    print_data(result)
    if not result.holds:
        raise typer.Exit(1)


def print_data(result: "DataResult") -> None:
    """Print tables, remarks and paths."""
    for table in result.tables:
        print_table(table, styles={"wrong": "bold red", "warning": "yellow"})
    for line in result.lines:
        say(line)
    print_paths(result.paths)


def _files(paths: Sequence[str], kind: str, frames: str) -> "list[Files]":
    from esen.data.readers import Files

    return [Files(path, kind, frames) for path in paths]
