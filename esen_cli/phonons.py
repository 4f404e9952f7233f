"""`esen phonons`."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from esen.errors import InputError
from esen_cli import options as opt
from esen_cli.output import campaign_run, print_campaign

if TYPE_CHECKING:
    from esen.evaluate.phonons.protocol import PhononProtocol


def phonons(  # noqa: PLR0913, PLR0917  # the options of a command are its arguments
    potential: Annotated[
        str,
        typer.Argument(
            metavar="POTENTIAL", help=f"{opt.POTENTIAL_HELP}, or reference for the force sets of the input."
        ),
    ],
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Structure files, phonopy yaml (also .xz, .bz2, .gz), or folders of the MDR benchmark.",
        ),
    ],
    also: opt.Also = None,
    protocol: Annotated[
        Literal["tight", "mdr-fair", "mdr-loew"],
        opt.protocol_option(help="Protocol of relaxation and displacements."),
    ] = "tight",
    method: Annotated[
        Literal["displacements", "hessian"],
        opt.protocol_option(help="Displaced supercells, or exact second derivatives of an eSEN potential."),
    ] = "displacements",
    displacement: opt.Displacement = None,
    displacements: Annotated[
        str | None,
        opt.protocol_option(
            metavar="Å,Å,...",
            help="Compute with each of these displacements, such as 0.001,0.01,0.1, and compare.",
        ),
    ] = None,
    supercell: Annotated[
        str | None,
        opt.structures_option(
            metavar="N,N,N",
            help="Supercell of each structure file, such as 2,2,2 or 2x2x2.  [default: by --min-width]",
        ),
    ] = None,
    min_width: Annotated[
        float | None,
        opt.structures_option(
            metavar="Å", help="Least width of the supercells of structure files.  [default: 12]"
        ),
    ] = None,
    max_atoms: opt.MaxAtoms = 2000,
    relax: opt.Relax = True,
    allow_direct: opt.AllowDirect = False,
    frames: opt.Frames = ":1",
    calculator_args: opt.NamedCalculatorArgs = None,
    dtype: opt.Dtype = None,
    device: opt.Device = "auto",
    batch_atoms: opt.BatchAtoms = 512,
    output: opt.Records = None,
    retry: opt.Retry = False,
    plots: opt.Plots = True,
    track: opt.Track = True,
) -> None:
    """Compute harmonic phonons: ω_max, S, F, C_V, stability, bands. The exit code is 1 if a crystal failed.

    Example: esen phonons runs/mgo mgo.cif --supercell 3,3,3
    """
    sizes = _displacements(displacement, displacements, method)
    from esen.evaluate.phonons.protocol import PROTOCOLS
    from esen.study.phonons import choose_crystals, run_phonons

    chosen: PhononProtocol = replace(PROTOCOLS[protocol], method=method)
    if not relax:
        chosen = replace(chosen, relax=None)
    if len(sizes) == 1:
        chosen, sizes = replace(chosen, displacement=sizes[0]), ()
    crystals = choose_crystals(
        inputs, chosen, supercell=supercell, min_width=min_width, frames=frames, max_atoms=max_atoms
    )
    with campaign_run(
        "phonons",
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
        result = run_phonons(run, crystals, chosen, sizes)
    print_campaign(result, run.tracker.links)


def _displacements(one: float | None, several: str | None, method: str) -> tuple[float, ...]:
    """Return the displacements in Å; an empty tuple stands for that of the protocol."""
    if method == "hessian" and (one is not None or several is not None):
        raise InputError("--method hessian: displaces nothing; leave out --displacement and --displacements")
    if one is not None and several is not None:
        raise InputError("--displacement, --displacements: give one of them")
    given: tuple[float, ...] = () if one is None else (one,)
    text = f"--displacement {one}"
    if several is not None:
        text = f"--displacements {several}"
        try:
            given = tuple(float(part) for part in several.split(","))
        except ValueError:
            raise InputError(f"{text}: expected lengths in Å, such as 0.001,0.01,0.1") from None
    if not all(0 < value < 1 for value in given) or len(set(given)) < len(given):
        raise InputError(f"{text}: expected different lengths between 0 and 1 Å, such as 0.001,0.01,0.1")
    return given
