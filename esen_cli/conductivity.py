"""`esen conductivity`."""

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from esen.errors import InputError
from esen_cli import options as opt
from esen_cli.output import campaign_run, print_campaign

if TYPE_CHECKING:
    from esen.evaluate.conductivity.protocol import ConductivityProtocol


def conductivity(  # noqa: PLR0913, PLR0917  # the options of a command are its arguments
    potential: Annotated[
        str,
        typer.Argument(
            metavar="POTENTIAL",
            help=f"{opt.POTENTIAL_HELP}, or reference for the force sets of a phono3py yaml.",
        ),
    ],
    structures: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Structure files, the extxyz of phononDB-PBE-103, or phono3py yaml (also .xz, .bz2, .gz).",
        ),
    ],
    also: opt.Also = None,
    protocol: Annotated[
        Literal["tight", "phonondb-103"] | None,
        opt.protocol_option(
            help="Protocol of relaxation, displacements and transport.  [default: phonondb-103 if all materials"
            " are of that benchmark, else tight]"
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        opt.output_option(
            metavar="FILE",
            help="Compare with these conductivities: those of the benchmark, or kappas.json.gz of another run.",
        ),
    ] = None,
    displacement: opt.Displacement = None,
    temperatures: Annotated[
        str | None,
        opt.protocol_option(metavar="K,K,...", help="Temperatures of κ.  [default: 300]"),
    ] = None,
    fc2: Annotated[
        str | None,
        opt.structures_option(
            metavar="N,N,N", help="Supercell for second-order force constants.  [default: by --fc2-width]"
        ),
    ] = None,
    fc3: Annotated[
        str | None,
        opt.structures_option(
            metavar="N,N,N", help="Supercell for third-order force constants.  [default: by --fc3-width]"
        ),
    ] = None,
    fc2_width: Annotated[
        float | None,
        opt.structures_option(metavar="Å", help="Least width of the second-order supercell.  [default: 12]"),
    ] = None,
    fc3_width: Annotated[
        float | None,
        opt.structures_option(metavar="Å", help="Least width of the third-order supercell.  [default: 8]"),
    ] = None,
    max_atoms: opt.MaxAtoms = 2000,
    mesh: Annotated[
        str | None,
        opt.protocol_option(
            metavar="N,N,N|Å",
            help="Mesh of the Brillouin zone, as numbers of points or as a length.  [default: 50]",
        ),
    ] = None,
    isotopes: Annotated[
        bool,
        opt.protocol_option(
            "--isotopes/--no-isotopes", help="Include the scattering by the natural mixture of isotopes."
        ),
    ] = True,
    relax: opt.Relax = True,
    allow_direct: opt.AllowDirect = False,
    frames: Annotated[
        str | None,
        opt.structures_option(
            metavar="SLICE",
            help="Frames to take from each file, such as ::10."
            "  [default: all frames of the benchmark, the first frame of other files]",
        ),
    ] = None,
    calculator_args: opt.NamedCalculatorArgs = None,
    dtype: opt.Dtype = None,
    device: opt.Device = "auto",
    batch_atoms: opt.BatchAtoms = 512,
    output: opt.Records = None,
    retry: opt.Retry = False,
    plots: opt.Plots = True,
    track: opt.Track = True,
) -> None:
    """Compute the lattice thermal conductivity: κ, κ_SRME, κ_SRE. The exit code is 1 if a material failed.

    Example: esen conductivity runs/mgo mgo.cif --temperatures 300,600
    """
    changes = _changes(displacement, temperatures)
    from esen.evaluate.conductivity.protocol import PROTOCOLS
    from esen.study.conductivity import SizeOptions, choose_materials, run_conductivity

    sizes = SizeOptions(fc2, fc3, fc2_width, fc3_width, mesh, max_atoms)
    materials = choose_materials(structures, sizes, frames=frames)
    name = protocol or ("phonondb-103" if all(one.of_benchmark for one in materials) else "tight")
    chosen: ConductivityProtocol = replace(PROTOCOLS[name], **changes)
    chosen = replace(chosen, relax=chosen.relax and relax, isotopes=chosen.isotopes and isotopes)
    with campaign_run(
        "conductivity",
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
        result = run_conductivity(run, materials, chosen, reference)
    print_campaign(result, run.tracker.links)


def _changes(displacement: float | None, temperatures: str | None) -> dict[str, Any]:
    """Return the settings in which the user departs from the protocol."""
    found: dict[str, Any] = {}
    if displacement is not None:
        if not 0 < displacement < 1:
            raise InputError(
                f"--displacement {displacement}: expected a length between 0 and 1 Å, such as 0.01"
            )
        found["displacement"] = displacement
    if temperatures is not None:
        try:
            values = tuple(float(part) for part in temperatures.split(","))
        except ValueError:
            values = ()
        if not values or not all(0 < v < math.inf for v in values) or len(set(values)) < len(values):
            raise InputError(
                f"--temperatures {temperatures}: expected different temperatures above 0 K, such as 300,600"
            )
        found["temperatures"] = values
    return found
