"""`esen check`."""

from typing import Annotated

import typer

from esen_cli import options as opt
from esen_cli.output import open_test, potential_name, print_paths, print_table, result_folder, say


def check(  # noqa: PLR0913, PLR0917  # the options of a command are its arguments
    potential: opt.Potential,
    structures: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE",
            help="Structures in any format that esen or ASE reads."
            "  [default: a small crystal, and a molecule, of elements that the potential knows]",
        ),
    ] = None,
    frames: opt.Frames = ":1",
    laws: Annotated[
        str | None,
        typer.Option(
            metavar="LAW,LAW,...", help="Check only these laws or rows of the table.  [default: all laws]"
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Seed for the random rotations, displacements and choices of atoms."
        ),
    ] = 0,
    calculator_args: opt.CalculatorArgs = None,
    dtype: opt.Dtype = None,
    device: opt.Device = "auto",
    output: opt.Output = None,
    track: opt.Track = True,
) -> None:
    """Test whether a potential obeys the laws of physics. Exit code 1: it breaks one, or none can be tested.

    Example: esen check runs/mgo mgo.xyz --laws curl,smoothness
    """
    folder = result_folder(output, f"check-{potential_name(potential)}")

    from esen.study.check import run_check

    with open_test("check", [potential], folder, device=device, track=track) as tracker:
        result = run_check(
            potential,
            structures or (),
            output=folder,
            tracker=tracker,
            frames=frames,
            laws=[name.strip() for name in laws.split(",") if name.strip()] if laws is not None else None,
            calculator_args=calculator_args or (),
            dtype=dtype,
            device=device,
            seed=seed,
        )
    for number, name in enumerate(result.structures, start=1):
        say(f"[{number}] {name}")
    print_table(
        result.table.texts(),
        words=result.table.wrapping,
        numbers="left",
        styles={"FAIL": "bold red"},
    )
    say(*result.verdict.splitlines(), "")
    print_paths(result.paths, tracker.links)
    if not result.report.holds:
        raise typer.Exit(1)
