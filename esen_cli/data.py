"""`esen data`: make training sets, look at data, and check it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from esen_cli.options import CalculatorArgs
from esen_cli.output import print_result, print_wide, writable

if TYPE_CHECKING:
    from esen.data.readers import Files, Reading
    from esen.study.data import DataResult

data_app = typer.Typer(
    help="Convert, describe and check training data.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

_WHAT = "Files, folders or glob patterns of any format that esen reads (docs/formats.md), or training sets."
Paths = Annotated[list[str], typer.Argument(help=_WHAT)]
Format = Annotated[str, typer.Option("--format", help="Of all files; auto: each shows its own.")]
Slice = Annotated[str, typer.Option("--frames", help="Frames of each file, a slice such as ::10.")]
EnergyKey = Annotated[str, typer.Option(help="Name of the energy; none: not to be read.")]
ForcesKey = Annotated[str, typer.Option(help="Name of the forces; none: not to be read.")]
StressKey = Annotated[str, typer.Option(help="Name of the stress; none: not to be read.")]
Convention = Annotated[
    Literal["ase", "vasp_kbar", "virial"], typer.Option(help="Sign and unit, where the format does not say.")
]


@data_app.command()
def convert(  # noqa: PLR0913, PLR0917  # the options of a command are its arguments
    sources: Annotated[list[str], typer.Argument(help="Files, folders or glob patterns.")],
    output: Annotated[Path, typer.Argument(help="The training set, a folder such as mptrj.esendata.")],
    kind: Format = "auto",
    frames: Slice = ":",
    energy_key: EnergyKey = "energy",
    forces_key: ForcesKey = "forces",
    stress_key: StressKey = "stress",
    stress_convention: Convention = "ase",
    processes: Annotated[
        int | None, typer.Option(min=1, help="That convert.  [default: one a CPU; one for small inputs]")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--restart", help="Go on with what is there, or begin anew.")
    ] = True,
    count_edges: Annotated[
        float | None, typer.Option(min=0.1, help="Count the edges up to so many Å, too.")
    ] = None,
) -> None:
    """Make one memory-mapped training set. Stopped anywhere, the same command goes on."""
    folder = writable(output)

    from esen.study.data import run_convert

    print_data(
        run_convert(
            _files(sources, kind, frames),
            folder,
            _reading(energy_key, forces_key, stress_key, stress_convention),
            processes=processes,
            resume=resume,
            edges_cutoff=count_edges,
        )
    )


@data_app.command()
def info(
    paths: Paths,
    kind: Format = "auto",
    frames: Slice = ":",
    energy_key: EnergyKey = "energy",
    forces_key: ForcesKey = "forces",
    stress_key: StressKey = "stress",
    stress_convention: Convention = "ase",
) -> None:
    """What data holds: frames, sizes, elements, labels, units."""
    from esen.study.data import run_info

    reading = _reading(energy_key, forces_key, stress_key, stress_convention)
    print_data(run_info(_files(paths, kind, frames), reading))


@data_app.command()
def references(  # the options of a command are its arguments
    paths: Paths,
    method: Annotated[
        Literal["least_squares", "isolated_atoms"], typer.Option(help="How they are found.")
    ] = "least_squares",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="JSON for data.references: {file: …}.")
    ] = None,
    kind: Format = "auto",
    frames: Slice = ":",
    energy_key: EnergyKey = "energy",
) -> None:
    """Reference energies of the elements."""
    from esen.study.data import run_references

    reading = _reading(energy_key, "forces", "stress", "ase")
    print_data(run_references(_files(paths, kind, frames), reading, method, output))


@data_app.command()
def check(  # noqa: PLR0913, PLR0917  # the options of a command are its arguments
    paths: Paths,
    potential: Annotated[
        str | None,
        typer.Option(
            help="To compare stresses with: weights, a run's folder, emt, lj, or module:factory (ASE)."
        ),
    ] = None,
    calculator_args: CalculatorArgs = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSON with the findings.")] = None,
    most: Annotated[int, typer.Option(min=1, help="Frames that are looked into.")] = 20_000,
    kind: Format = "auto",
    frames: Slice = ":",
    energy_key: EnergyKey = "energy",
    forces_key: ForcesKey = "forces",
    stress_key: StressKey = "stress",
    stress_convention: Convention = "ase",
) -> None:
    """A doctor for data: labels, outliers, duplicates, units, the stress. Exit code 1: something is wrong."""
    from esen.study.data_check import run_check

    result = run_check(
        _files(paths, kind, frames),
        _reading(energy_key, forces_key, stress_key, stress_convention),
        potential=potential,
        calculator_args=calculator_args or (),
        output=output,
        most=most,
    )
    print_data(result)
    if not result.holds:
        raise typer.Exit(1)


def print_data(result: "DataResult") -> None:
    """Tables, lines and files."""
    for table in result.tables:
        print_wide(table, styles={"wrong": "bold red", "warning": "yellow"})
    for line in result.lines:
        typer.echo(line)
    print_result([], result.paths)


def _files(paths: Sequence[str], kind: str, frames: str) -> "list[Files]":
    from esen.data.readers import Files

    return [Files(path, kind, frames) for path in paths]


def _reading(
    energy_key: str, forces_key: str, stress_key: str, convention: Literal["ase", "vasp_kbar", "virial"]
) -> "Reading":
    """Labels that are missing are missing; those that stand under another name are an error."""
    from esen.data.readers import Reading

    return Reading(energy_key, forces_key, stress_key, convention, required=())
