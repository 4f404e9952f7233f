"""`esen import`."""

from pathlib import Path
from typing import Annotated

import typer

from esen.errors import InputError
from esen_cli.output import not_a_run, print_result


def import_checkpoint(
    checkpoint: Annotated[
        Path, typer.Argument(help="A checkpoint of fairchem 1.x, such as esen_30m_oam.pt.")
    ],
    output: Annotated[Path, typer.Argument(help="Folder for the potential, its recipe and a report.")],
    raw: Annotated[
        bool, typer.Option("--raw", help="Take the weights as trained, not their moving average.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Compare with stored outputs: the .npz files beside the checkpoint."),
    ] = False,
    outputs: Annotated[
        list[Path] | None, typer.Option(help="Other .npz files or folders to compare with.")
    ] = None,
    licence: Annotated[
        Path | None, typer.Option(help="Licence of the weights.  [default: LICENSE beside the checkpoint]")
    ] = None,
) -> None:
    """Import published weights. Nothing in the file is run; what is not a checkpoint of eSEN is refused."""
    folder = not_a_run(output)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "import.json").is_file():
        raise InputError(f"{output}: holds other files, which would be overwritten; give a new folder")

    from esen.study.import_compare import TOLERANCE
    from esen.study.importing import run_import

    compared = list(outputs or ()) or ([checkpoint.parent] if verify else [])
    result = run_import(checkpoint, folder, raw=raw, outputs=compared, licence=licence)
    if result.comparisons:
        rows = [
            {
                "stored": c.outputs,
                "quantity": c.quantity,
                "largest": c.size,
                "difference": f"{c.difference:.1e}",
                f"≤ {TOLERANCE:g}": "yes" if c.agrees else "NO",
            }
            for c in result.comparisons
        ]
        print_result(rows, {})
    print_result(result.rows, result.paths)
    if not result.agrees:
        typer.echo("error: the imported potential does not give the stored outputs", err=True)
        raise typer.Exit(1)
