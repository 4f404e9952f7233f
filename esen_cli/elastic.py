"""`esen elastic`."""

from typing import Annotated

import typer

from esen_cli.options import (
    OUTPUT,
    PROTOCOL,
    RELAXATION,
    AllowDirect,
    Also,
    BatchAtoms,
    Device,
    Dtype,
    Frames,
    NamedCalculatorArgs,
    Potential,
    Records,
    Retry,
    Structures,
    Track,
)
from esen_cli.output import campaign_run, print_campaign


def elastic(  # noqa: PLR0913, PLR0917  # the options of a command are its arguments
    potential: Potential,
    files: Structures,
    also: Also = None,
    calculator_args: NamedCalculatorArgs = None,
    allow_direct: AllowDirect = False,
    frames: Frames = ":",
    strain: Annotated[
        list[float] | None,
        typer.Option(
            metavar="STRAIN",
            help="Magnitude of the strains; with several, constants are extrapolated to zero strain. Repeatable."
            "  [default: 0.0025 and 0.005]",
            rich_help_panel=PROTOCOL,
        ),
    ] = None,
    energies: Annotated[
        bool,
        typer.Option(
            "--energies",
            help="Check all 21 constants against energies, with 42 strains instead of 12 per magnitude."
            "  [default: the diagonal]",
            rich_help_panel=PROTOCOL,
        ),
    ] = False,
    eos: Annotated[
        bool,
        typer.Option("--eos", help="Also fit a Birch–Murnaghan equation of state.", rich_help_panel=PROTOCOL),
    ] = False,
    cell: Annotated[
        bool,
        typer.Option(
            "--cell/--no-cell",
            help="Relax the cell before it is strained; positions are always relaxed.",
            rich_help_panel=RELAXATION,
        ),
    ] = True,
    keep_symmetry: Annotated[
        bool,
        typer.Option(
            "--keep-symmetry/--break-symmetry",
            help="Keep the space group in this relaxation.",
            rich_help_panel=RELAXATION,
        ),
    ] = True,
    fmax: Annotated[
        float,
        typer.Option(metavar="EV/Å", min=1e-12, help="Largest force left.", rich_help_panel=RELAXATION),
    ] = 1e-5,
    steps: Annotated[
        int, typer.Option(metavar="N", min=1, help="Largest number of steps.", rich_help_panel=RELAXATION)
    ] = 2000,
    batch_atoms: BatchAtoms = 512,
    dtype: Dtype = None,
    device: Device = "auto",
    output: Records = None,
    retry: Retry = False,
    plots: Annotated[
        bool,
        typer.Option("--plots/--no-plots", help="Draw equations of state.", rich_help_panel=OUTPUT),
    ] = True,
    track: Track = True,
) -> None:
    """Compute elastic constants with relaxed ions, moduli, and Born stability.

    Exit code 1: a crystal failed or did not converge.

    Example: esen elastic runs/quickstart MgO.cif --eos
    """
    from dataclasses import replace

    from esen.evaluate.elastic import TIGHT, ElasticSpec
    from esen.study.campaign import structure_items
    from esen.study.elastic import run_elastic

    relax = replace(TIGHT, fmax=fmax, steps=steps, cell=cell, keep_symmetry=keep_symmetry)
    spec = ElasticSpec(relax=relax, energies=energies)
    if strain:
        spec = replace(spec, strains=tuple(strain))
    items = structure_items(files, frames)
    with campaign_run(
        "elastic",
        [potential, *(also or ())],
        calculator_args=calculator_args,
        dtype=dtype,
        device=device,
        output=output,
        track=track,
        allow_direct=allow_direct,
        batch_atoms=batch_atoms,
        plots=plots,
        retry=retry,
    ) as run:
        result = run_elastic(run, items, spec, eos=eos)
    print_campaign(result)
