"""Folders that runs are written to, and what is printed of a result."""

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import typer

from esen.errors import InputError

if TYPE_CHECKING:
    from esen.study.campaign import CampaignResult
    from esen.study.materials.share import Share
    from esen.study.processes import Processes
    from esen.track import Tracker

RUNS = Path("runs")
LAST = "last.safetensors"
RECIPE = "recipe.yaml"
_PIPED_WIDTH = 150
"""Characters a line where a wide table goes to a file or a pipe."""
_NO_STYLES: Mapping[str, str] = MappingProxyType({})


def fresh_folder(name: str) -> Path:
    """`runs/<name>`, or `runs/<name>-2`, `-3`, … where that is taken. It is not made yet."""
    folder, number = RUNS / name, 1
    while folder.exists():
        number += 1
        folder = RUNS / f"{name}-{number}"
    return writable(folder)


def potential_name(potential: str) -> str:
    """Return the name of the folder of results for a potential.

    >>> potential_name("runs/mgo/best.safetensors"), potential_name("chgnet.model:CHGNetCalculator")
    ('mgo-best', 'chgnet.model-CHGNetCalculator')
    """
    path = Path(potential)
    if path.suffix == ".safetensors":
        return f"{path.parent.name}-{path.stem}".strip("-")
    return path.name.replace(":", "-") or "potential"


def started_folder(recipe: Path) -> Path:
    """The run to go on with: the recipe's own folder if it is a run, else the newest run of the recipe's name.

    Raises:
        InputError: there is none.
    """
    name = recipe.stem
    if (recipe.parent / LAST).is_file():
        return writable(recipe.parent)
    runs = [p for p in RUNS.glob("*") if re.fullmatch(rf"{re.escape(name)}(-\d+)?", p.name)]
    files = [file for run in runs for file in (run / LAST, run / RECIPE) if file.is_file()]
    if not files:
        raise InputError(
            f"--resume: no run of {name} was begun in {RUNS}/; leave out --resume, or give --output"
        )
    return writable(max(files, key=lambda file: file.stat().st_mtime).parent)


def chosen_folder(folder: Path, *, resume: bool) -> Path:
    """The folder given by `--output`, if it may be written to.

    Raises:
        InputError: it holds a run and `--resume` is not given, or the reverse.
    """
    begun = (folder / LAST).exists()
    if not begun and not resume and (folder / RECIPE).exists():
        raise InputError(
            f"--output {folder}: holds a {RECIPE}, which the run would overwrite; give another folder"
        )
    if begun and not resume:
        raise InputError(
            f"--output {folder}: holds a run ({LAST}); go on with --resume, or give another folder"
        )
    if resume and not begun and not (folder / RECIPE).exists():
        raise InputError(f"--output {folder}: holds no run to resume (no {LAST}); leave out --resume")
    return writable(folder)


def not_a_run(folder: Path) -> Path:
    """The folder given by `--output` for results, if it may be written to.

    Raises:
        InputError: a training left its own results there.
    """
    if (folder / LAST).exists():
        raise InputError(
            f"--output {folder}: holds a run, whose own results would be overwritten; give another folder"
        )
    return writable(folder)


@contextmanager
def shared_run(name: str, output: Path | None, track: bool) -> Iterator[tuple["Share", Path, "Tracker"]]:
    """This process's share of a run under torchrun, the run's folder, and its tracker; only the first process tracks.

    Args:
        name: of a folder that is made if none is given.
        output: the folder given by `--output`.
        track: whether the run is kept in MLflow.

    Raises:
        InputError: as `agreed_folder`.
    """
    from esen.study.materials.share import share_of_processes
    from esen.track import make_tracker

    with share_of_processes() as share:
        folder = agreed_folder(name, output, share)
        with make_tracker(track and share.is_first, run_name=folder.name) as tracker:
            yield share, folder, tracker


@contextmanager
def campaign_run(
    name: str, output: Path | None, track: bool
) -> Iterator[tuple["Processes", Path, "Tracker"]]:
    """Give the processes of a run under torchrun, the run's folder, and its tracker.

    Args:
        name: of the folder that is made if none is given.
        output: the folder given by `--output`.
        track: whether the run is kept in MLflow; only the first process tracks.

    Raises:
        InputError: the folder cannot be written to, or a training left its results there.
    """
    from esen.study.processes import torchrun_processes
    from esen.track import make_tracker

    with torchrun_processes() as processes:
        chosen = processes.first_says(
            "folder",
            lambda: str(fresh_folder(name) if output is None else not_a_run(output.expanduser())),
        )
        folder = Path(chosen)
        with make_tracker(track and processes.is_first, run_name=folder.name) as tracker:
            yield processes, folder, tracker


def print_campaign(result: "CampaignResult | None") -> None:
    """Print tables, remarks and paths of a campaign.

    Args:
        result: of the campaign; None: this is not the first process, and nothing is printed.

    Raises:
        typer.Exit: with code 1, an item failed.
    """
    if result is None:
        return
    for table in result.tables:
        print_wide(table.texts(), words=table.wrapping)
    for line in result.lines:
        typer.echo(line)
    if result.lines:
        typer.echo("")
    print_result([], result.paths)
    if result.failed:
        raise typer.Exit(1)


def agreed_folder(name: str, given: Path | None, share: "Share") -> Path:
    """The folder given by `--output`, or a new one; the same in all processes of torchrun.

    Raises:
        InputError: it cannot be written to, or a training left its results there.
    """
    chosen = share.first_says(
        "folder", lambda: str(fresh_folder(name) if given is None else not_a_run(given.expanduser()))
    )
    return Path(chosen)


def writable(folder: Path) -> Path:
    """The folder itself, if it can be written to or made.

    Raises:
        InputError: it cannot; said before the work, not after.
    """
    above = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not above.is_dir():
        raise InputError(f"{folder}: expected a folder for the output, but {above} is a file")
    if not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: no permission to write in {above}; give another folder with --output")
    return folder


def print_result(rows: Any, paths: Mapping[str, Path]) -> None:
    """Print a table and the files that were written.

    Args:
        rows: (name, value, unit) rows, mappings with the same keys, or anything Rich can print.
        paths: what each file is, and where.
    """
    from rich.console import Console

    console = Console(highlight=False)
    if isinstance(rows, list | tuple):
        if rows:
            console.print(_table(rows))
    else:
        console.print(rows)
    width = max(map(len, paths), default=0)
    for name, path in paths.items():  # not by Rich, which would cut or wrap a long path
        typer.echo(f"{name:<{width}}  {path}")


def print_wide(
    rows: Sequence[Mapping[str, str | float | int | None]],
    *,
    words: Collection[str] | None = None,
    numbers: Literal["left", "right"] = "right",
    styles: Mapping[str, str] = _NO_STYLES,
) -> None:
    """A table that is not squeezed where it goes to a file or a pipe.

    Args:
        rows: mappings with the same keys; one without a value has a dash.
        words: columns that may be broken into lines; None: all.
        numbers: on which side the others stand.
        styles: of rows, by the beginning of their verdict.
    """
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPED_WIDTH)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in rows[0] if rows else ():
        if words is None or title in words:
            table.add_column(title, overflow="fold")
        else:
            table.add_column(title, justify=numbers, no_wrap=True)
    for row in rows:
        verdict = str(row.get("verdict"))
        style = next((style for start, style in styles.items() if verdict.startswith(start)), None)
        table.add_row(*(escape(_wide_text(value)) for value in row.values()), style=style)
    console.print(table)


def _wide_text(value: float | str | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _table(rows: Sequence[Any]) -> Any:
    from rich import box
    from rich.table import Table

    named = isinstance(rows[0], Mapping)
    table = Table(box=box.SIMPLE_HEAD, show_header=named, pad_edge=False)
    for number, title in enumerate(rows[0]):
        numeric = any(isinstance(v, int | float) for v in _column(rows, number))
        table.add_column(str(title) if named else "", justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(_text(value) for value in _values(row)))
    return table


def _values(row: Any) -> Iterable[Any]:
    return row.values() if isinstance(row, Mapping) else row


def _column(rows: Sequence[Any], number: int) -> list[Any]:
    return [list(_values(row))[number] for row in rows]


def _text(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
