"""`esen mae`."""

from typing import Annotated, Literal

import typer

from esen_cli import options as opt
from esen_cli.output import open_test, potential_name, print_paths, print_table, result_folder


def mae(  # noqa: PLR0913, PLR0917  # the options of a command are its arguments
    potential: opt.Potential,
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA",
            help="Labelled frames: files of any format of `esen train`, folders, or glob patterns.",
        ),
    ],
    also: opt.Also = None,
    calculator_args: opt.NamedCalculatorArgs = None,
    frames: opt.Frames = ":",
    group_by: Annotated[
        str | None,
        opt.structures_option(
            metavar="KEY",
            help="Show the errors of frames with the same value of this key."
            "  [default: config_type, where frames have it]",
        ),
    ] = None,
    energy_key: opt.EnergyKey = "energy",
    forces_key: opt.ForcesKey = "forces",
    stress_key: opt.StressKey = "stress",
    stress_convention: opt.StressConvention = "ase",
    batch_atoms: Annotated[
        int,
        opt.device_option(
            metavar="N",
            min=1,
            help="Largest number of atoms per batch; ASE calculators take one frame at a time.",
        ),
    ] = 256,
    dtype: Annotated[
        Literal["float32", "float64"] | None,
        opt.device_option(help="Precision of the weights.  [default: as trained]"),
    ] = None,
    memory: Annotated[
        Literal["auto", "lean", "fast"],
        opt.device_option(
            help="lean uses a third of the memory of fast or less, and takes half as long again."
        ),
    ] = "auto",
    device: opt.Device = "auto",
    output: opt.Output = None,
    track: opt.Track = True,
) -> None:
    """Compute the errors of energies, forces and stresses on labelled frames, and name the worst frames.

    Frames that a potential cannot predict are left out, listed and counted. The exit code is 1 if one of several
    potentials can predict no frame.

    Example: esen mae runs/mgo test.xyz --also runs/mgo-2 --group-by config_type
    """
    from esen.data.readers import Reading
    from esen.recipe import SourceSpec

    folder = result_folder(output, f"mae-{potential_name(potential)}")

    from esen.study.mae import run_mae

    with open_test("mae", [potential, *(also or ())], folder, device=device, track=track) as tracker:
        result = run_mae(
            [potential, *(also or ())],
            [SourceSpec(path=path, frames=frames) for path in data],
            output=folder,
            tracker=tracker,
            reading=Reading(energy_key, forces_key, stress_key, stress_convention, required=()),
            batch_atoms=batch_atoms,
            group_by=group_by,
            calculator_args=calculator_args or (),
            dtype=dtype,
            device=device,
            memory=memory,
        )
    print_table(result.table.texts(), words=result.table.wrapping)
    print_table(result.worst.texts(), words=result.worst.wrapping)
    print_paths(result.paths, tracker.links)
    if result.failures:
        raise typer.Exit(1)
