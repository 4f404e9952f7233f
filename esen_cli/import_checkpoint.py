"""`esen import`."""

from pathlib import Path
from typing import Annotated

import typer

from esen.errors import InputError
from esen_cli.options import OUTPUT
from esen_cli.output import not_a_run, print_paths, print_table, say

_VERIFICATION = "Verification"


def import_checkpoint(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="FILE", help="Checkpoint of fairchem 1.x, such as esen_30m_oam.pt.")
    ],
    output: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder for the potential, its recipe and a report.")
    ],
    raw: Annotated[
        bool, typer.Option("--raw", help="Take the trained weights instead of their moving average.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Compare predictions with stored outputs: the .npz files beside the checkpoint.",
            rich_help_panel=_VERIFICATION,
        ),
    ] = False,
    outputs: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE|FOLDER",
            help="Compare predictions with these .npz files instead. Repeatable.",
            rich_help_panel=_VERIFICATION,
        ),
    ] = None,
    licence: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Licence of the weights.  [default: LICENSE beside the checkpoint]",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
) -> None:
    """Import published eSEN weights. No code in the file is run; any other file is refused.

    Example: esen import esen_30m_oam.pt oam30m --verify
    """
    folder = not_a_run(output)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "import.json").is_file():
        raise InputError(
            f"{output}: the folder holds other files, which would be overwritten; give a new folder"
        )

    from esen.study.imports import run_import

    compared = list(outputs or ()) or ([checkpoint.parent] if verify else [])
    result = run_import(checkpoint, folder, raw=raw, outputs=compared, licence=licence)
    print_table(result.table.texts(), words=result.table.wrapping)
    print_table(result.rows)
    print_paths(result.paths)
    if not result.agrees:
        say("error: the imported potential does not give the stored outputs", err=True)
        raise typer.Exit(1)
