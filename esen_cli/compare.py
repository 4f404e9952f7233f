"""`esen compare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from esen.errors import InputError
from esen_cli.options import in_panel, output_option
from esen_cli.output import not_a_run, print_paths, print_table, say, table_width

if TYPE_CHECKING:
    from esen.study.compare import Comparison

_LIST = "list"
_OF_OTHERS = ("result.json", "study.json")
"""Files of results that have a report of their own."""
_table_option = in_panel("Table")


def compare(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="FOLDER", help="Folders of runs, tests and studies, in any mixture; all results in them."
        ),
    ],
    base: Annotated[
        str | None,
        _table_option(
            metavar="NAME",
            help="Variant that the others are compared with."
            "  [default: that of the study, default, or the recipe without changes]",
        ),
    ] = None,
    columns: Annotated[
        str | None,
        _table_option(
            metavar="A,B,...",
            help="Quantities to show, such as forces_mae,drift,elastic.C11; list: print all that were measured.",
        ),
    ] = None,
    sort: Annotated[
        str | None, _table_option(metavar="QUANTITY", help="Sort the rows by this quantity, the best first.")
    ] = None,
    correlate: Annotated[
        list[str] | None,
        _table_option(
            metavar="X,Y",
            help="Correlate two quantities over all potentials. Repeatable."
            "  [default: the energy error with the drift and with the phonon error]",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        output_option(
            metavar="FOLDER",
            help="Write the comparison as JSON, CSV, LaTeX and Markdown, and scatter plots.  [default: none]",
        ),
    ] = None,
) -> None:
    """Compare variants over seeds: mean and deviation of all results, differences to a base, correlations.

    Example: esen compare runs/study runs/mae-emt --columns energy_mae,drift --sort drift
    """
    from esen.study.compare import compare as compared
    from esen.study.compare import read_measurements, split_names, write_comparison

    listing = columns == _LIST
    names = [] if listing or columns is None else split_names(columns)
    if columns is not None and not (listing or names):
        raise InputError(f"--columns {columns}: expected names such as energy_mae,drift, or list")
    if listing and output is not None:
        raise InputError("--columns list writes no files; leave out --output")
    folder = None if output is None else _new_folder(output.expanduser())
    comparison = compared(
        read_measurements([folder.expanduser() for folder in folders]),
        base,
        columns=names,
        sort=sort,
        correlate=[_pair(text, split_names(text)) for text in correlate or ()],
    )
    if listing:
        print_table(
            [
                {
                    "quantity": one.name,
                    "unit": one.unit or "–",
                    "better": one.better or "–",
                    "potentials": one.potentials,
                    "how": one.how or "one row",
                }
                for one in comparison.headings
            ]
        )
        return
    paths = {} if folder is None else write_comparison(comparison, folder)
    print_comparison(comparison)
    print_paths(paths)


def _new_folder(folder: Path) -> Path:
    """Return the folder for a comparison, if it holds no other results.

    Raises:
        InputError: It does, or it cannot be written to.
    """
    for name in _OF_OTHERS:
        if (folder / name).exists():
            raise InputError(
                f"--output {folder}: holds {name}, whose report would be overwritten; give another folder"
            )
    return not_a_run(folder)


def _pair(text: str, names: list[str]) -> tuple[str, str]:
    """Return the two names of `--correlate`."""
    if len(names) != 2:
        raise InputError(f"--correlate {text}: expected two quantities, such as energy_mae,drift")
    return names[0], names[1]


def print_comparison(comparison: "Comparison") -> None:
    """Print the tables, correlations and notes of a comparison."""
    from esen.study.compare.layout import correlation_tables, notes, value_tables

    before = ""
    for title, table in (*value_tables(comparison, table_width()), *correlation_tables(comparison)):
        if title != before:
            say(f"{title}:")
        before = title
        print_table(table.texts(), words=table.wrapping)
    for line in (*notes(comparison), *comparison.remarks):
        say(line)
