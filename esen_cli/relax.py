"""`esen relax`."""

import math
from typing import Annotated, Literal

import typer

from esen.errors import InputError
from esen_cli.options import CalculatorArgs, Device, Dtype, Records, Retry, Track
from esen_cli.output import campaign_run, print_campaign


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
    from esen.study.campaign import CampaignOptions, structure_items
    from esen.study.relax import run_relax

    spec = RelaxSpec(
        fmax=fmax, steps=steps, cell=cell, keep_symmetry=keep_symmetry, symprec=symprec, optimizer=optimizer
    )
    items = structure_items(files, frames)
    options = CampaignOptions(batch_atoms=batch_atoms, retry=retry)
    with campaign_run("relax", output, track) as (processes, folder, tracker):
        result = run_relax(
            potential,
            items,
            spec,
            options,
            output=folder,
            tracker=tracker,
            processes=processes,
            calculator_args=calculator_args or (),
            dtype=dtype,
            device=device,
        )
    print_campaign(result)


def _above_zero(option: str, value: float, expected: str) -> None:
    if not 0 < value < math.inf:
        raise InputError(f"{option} {value:g}: expected more than 0, {expected}")
