"""`esen elastic`."""

from typing import Annotated

from esen_cli import options as opt
from esen_cli.output import above_zero, campaign_run, print_campaign


def elastic(  # noqa: PLR0913, PLR0917  # the options of a command are its arguments
    potential: opt.Potential,
    files: opt.Structures,
    also: opt.Also = None,
    calculator_args: opt.NamedCalculatorArgs = None,
    allow_direct: opt.AllowDirect = False,
    frames: opt.Frames = ":",
    strain: Annotated[
        list[float] | None,
        opt.protocol_option(
            metavar="STRAIN",
            help="Magnitude of the strains; with several, constants are extrapolated to zero strain. Repeatable."
            "  [default: 0.0025 and 0.005]",
        ),
    ] = None,
    energies: Annotated[
        bool,
        opt.protocol_option(
            "--energies",
            help="Check all 21 constants against energies, with 42 strains instead of 12 per magnitude."
            "  [default: the diagonal]",
        ),
    ] = False,
    eos: Annotated[
        bool, opt.protocol_option("--eos", help="Also fit a Birch–Murnaghan equation of state.")
    ] = False,
    cell: Annotated[
        bool,
        opt.relaxation_option(
            "--cell/--no-cell", help="Relax the cell before it is strained; positions are always relaxed."
        ),
    ] = True,
    keep_symmetry: Annotated[
        bool,
        opt.relaxation_option(
            "--keep-symmetry/--break-symmetry", help="Keep the space group in this relaxation."
        ),
    ] = True,
    fmax: Annotated[
        float, opt.relaxation_option(metavar="EV/Å", min=1e-12, help="Largest force left.")
    ] = 1e-5,
    steps: Annotated[int, opt.relaxation_option(metavar="N", min=1, help="Largest number of steps.")] = 2000,
    batch_atoms: opt.BatchAtoms = 512,
    dtype: opt.Dtype = None,
    device: opt.Device = "auto",
    output: opt.Records = None,
    retry: opt.Retry = False,
    plots: opt.Plots = True,
    track: opt.Track = True,
) -> None:
    """Compute elastic constants with relaxed ions, moduli, and Born stability.

    Exit code 1: a crystal failed or did not converge.

    Example: esen elastic runs/quickstart MgO.cif --eos
    """
    above_zero("--fmax", fmax, "a force in eV/Å, such as 1e-5")

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
    print_campaign(result, run.tracker.links)
