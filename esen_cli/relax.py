"""`esen relax`."""

from typing import Annotated, Literal

from esen_cli import options as opt
from esen_cli.output import above_zero, campaign_run, print_campaign


def relax(  # noqa: PLR0913, PLR0917  # the options of a command are its arguments
    potential: opt.Potential,
    files: opt.Structures,
    fmax: Annotated[
        float, opt.relaxation_option(metavar="eV/Å", help="Largest force left, on an atom or on the cell.")
    ] = 0.01,
    steps: Annotated[int, opt.relaxation_option(metavar="N", help="Largest number of steps.")] = 500,
    optimizer: Annotated[Literal["fire", "lbfgs"], opt.relaxation_option(help="Optimizer of ASE.")] = "fire",
    cell: Annotated[
        bool,
        opt.relaxation_option(
            "--cell/--no-cell",
            help="Also relax the cell of structures that are periodic in three directions; other cells stay.",
        ),
    ] = True,
    keep_symmetry: Annotated[
        bool, opt.relaxation_option("--keep-symmetry", help="Keep the space group.")
    ] = False,
    symprec: Annotated[
        float | None,
        opt.relaxation_option(
            metavar="Å",
            help="Tolerance of space groups.  [default: as --fmax, 0.0001 to 0.1 Å; to keep symmetry: 0.0001]",
        ),
    ] = None,
    frames: opt.Frames = ":",
    batch_atoms: Annotated[
        int,
        opt.device_option(
            metavar="N", help="Largest number of atoms per batch; ASE calculators have no batches."
        ),
    ] = 512,
    calculator_args: opt.CalculatorArgs = None,
    dtype: opt.Dtype = None,
    device: opt.Device = "auto",
    output: opt.Records = None,
    retry: opt.Retry = False,
    track: opt.Track = True,
) -> None:
    """Relax positions and cell. The exit code is 1 if a structure did not converge, melted, or failed.

    Constraints in the files are kept: fixed atoms stay, relative to the cell where it relaxes.

    Example: esen relax runs/mgo structures.xyz --fmax 0.001
    """
    above_zero("--fmax", fmax, "a force in eV/Å, such as 0.01")
    above_zero("--steps", steps, "a whole number, such as 500")
    above_zero("--symprec", 1e-4 if symprec is None else symprec, "a length in Å, such as 0.0001")
    above_zero("--batch-atoms", batch_atoms, "a whole number, such as 512")

    from esen.evaluate.relax import RelaxSpec
    from esen.study.campaign import structure_items
    from esen.study.relax import run_relax

    spec = RelaxSpec(
        fmax=fmax, steps=steps, cell=cell, keep_symmetry=keep_symmetry, symprec=symprec, optimizer=optimizer
    )
    items = structure_items(files, frames)
    with campaign_run(
        "relax",
        [potential],
        calculator_args=calculator_args,
        dtype=dtype,
        device=device,
        output=output,
        track=track,
        batch_atoms=batch_atoms,
        retry=retry,
    ) as run:
        result = run_relax(run, items, spec)
    print_campaign(result, run.tracker.links)
