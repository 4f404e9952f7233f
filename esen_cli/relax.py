"""`esen relax`."""

import math
from typing import Annotated, Literal

import typer

from esen.errors import InputError
from esen_cli.options import CalculatorArgs, Device, Dtype, Records, Retry, Track
from esen_cli.output import print_result, print_wide, shared_run

_WORDS = ("name", "formula", "verdict")
"""Columns of the table that are no numbers."""


def relax(  # noqa: PLR0913, PLR0917  # the options of a command are its arguments
    potential: Annotated[
        str,
        typer.Argument(help="Weights (.safetensors), a run's folder, emt, lj, or module:factory (ASE)."),
    ],
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Structures, in any format that esen or ASE reads."),
    ],
    fmax: Annotated[
        float, typer.Option(metavar="EV/Å", help="The largest force that may be left, the lattice's too.")
    ] = 0.01,
    steps: Annotated[int, typer.Option(help="At most.")] = 500,
    optimizer: Annotated[Literal["fire", "lbfgs"], typer.Option(help="Of ASE.")] = "fire",
    cell: Annotated[
        bool, typer.Option("--cell/--no-cell", help="The lattice moves, too, where there are three periods.")
    ] = True,
    keep_symmetry: Annotated[
        bool, typer.Option("--keep-symmetry", help="The space group is kept.  [default: it may change]")
    ] = False,
    symprec: Annotated[
        float, typer.Option(metavar="Å", help="Tolerance of positions that finds the space group.")
    ] = 1e-4,
    frames: Annotated[str, typer.Option(help="Frames of each file, a slice such as ::10.")] = ":",
    batch_atoms: Annotated[
        int, typer.Option(help="Structures that go together, in atoms; not for ASE calculators.")
    ] = 512,
    calculator_args: CalculatorArgs = None,
    dtype: Dtype = None,
    device: Device = "auto",
    output: Records = None,
    retry: Retry = False,
    track: Track = True,
) -> None:
    """Relax positions and lattice. Exit code 1: a structure did not converge, melted, or failed."""
    _above_zero("--fmax", fmax, "a force in eV/Å, such as 0.01")
    _above_zero("--steps", steps, "a whole number, such as 500")
    _above_zero("--symprec", symprec, "a length in Å, such as 0.0001")
    _above_zero("--batch-atoms", batch_atoms, "a whole number, such as 512")

    from esen.evaluate.relax import RelaxSpec
    from esen.study.relax.choose import choose_inputs
    from esen.study.relax.run import RelaxOptions, run_relax

    spec = RelaxSpec(
        fmax=fmax, steps=steps, cell=cell, keep_symmetry=keep_symmetry, symprec=symprec, optimizer=optimizer
    )
    inputs = choose_inputs(files, frames)
    options = RelaxOptions(batch_atoms=batch_atoms, retry=retry)
    with shared_run("relax", output, track) as (share, folder, tracker):
        result = run_relax(
            potential,
            inputs,
            spec,
            options,
            output=folder,
            tracker=tracker,
            share=share,
            calculator_args=calculator_args or (),
            dtype=dtype,
            device=device,
        )
    if result is None:  # not the first process
        return
    print_wide(result.rows, words=_WORDS)
    for line in result.lines:
        typer.echo(line)
    if result.lines:
        typer.echo("")
    print_result([], result.paths)
    if result.failed:
        raise typer.Exit(1)


def _above_zero(option: str, value: float, expected: str) -> None:
    if not 0 < value < math.inf:
        raise InputError(f"{option} {value:g}: expected more than 0, {expected}")
