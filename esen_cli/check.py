"""`esen check`."""

from pathlib import Path
from typing import Annotated

import typer

from esen_cli.options import CalculatorArgs, Device, Dtype
from esen_cli.output import fresh_folder, not_a_run, print_result, print_wide


def check(  # noqa: PLR0913, PLR0917  # the options of a command are its arguments
    potential: Annotated[
        str, typer.Argument(help="Weights (.safetensors), a run's folder, emt, lj, or module:factory (ASE).")
    ],
    structures: Annotated[
        list[str] | None, typer.Argument(help="Files of structures.  [default: small ones made on the spot]")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for tables and plots.  [default: new]")] = None,
    frames: Annotated[str, typer.Option(help="Frames of each file, a slice such as ::10.")] = ":1",
    laws: Annotated[
        str | None,
        typer.Option(help="Only these, as in curl,smoothness, or rows of the table.  [default: all]"),
    ] = None,
    calculator_args: CalculatorArgs = None,
    dtype: Dtype = None,
    device: Device = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Of rotations, directions and choices.")] = 0,
) -> None:
    """Whether a potential obeys the laws of physics. Exit code 1: a law is broken."""
    folder = not_a_run(output) if output is not None else fresh_folder(f"check-{_name(potential)}")

    from esen.study.check import run_check

    result = run_check(
        potential,
        structures or (),
        output=folder,
        frames=frames,
        laws=[name.strip() for name in laws.split(",") if name.strip()] if laws is not None else None,
        calculator_args=calculator_args or (),
        dtype=dtype,
        device=device,
        seed=seed,
    )
    for number, name in enumerate(result.structures, start=1):
        typer.echo(f"[{number}] {name}")
    print_wide(result.rows, words=("law", "what was found"), numbers="left", styles={"FAIL": "bold red"})
    typer.echo(f"{result.verdict}\n")
    print_result([], result.paths)
    if not result.report.holds:
        raise typer.Exit(1)


def _name(potential: str) -> str:
    """What the folder is called after.

    >>> _name("runs/mgo/best.safetensors"), _name("runs/mgo"), _name("chgnet.model:CHGNetCalculator")
    ('mgo-best', 'mgo', 'chgnet.model-CHGNetCalculator')
    """
    path = Path(potential)
    if path.suffix == ".safetensors":
        return f"{path.parent.name}-{path.stem}".strip("-")
    return path.name.replace(":", "-") or "potential"
