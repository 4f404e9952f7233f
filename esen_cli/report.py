"""`esen report`."""

from pathlib import Path
from typing import Annotated

import typer

from esen_cli.output import print_paths


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER", help="Folder of a training, a test, a study or a comparison."),
    ],
) -> None:
    """Write report.html into a folder of results again.

    Example: esen report runs/quickstart
    """
    from esen.study.report import write_report

    print_paths({f"report of {folder}": write_report(folder) for folder in folders})
