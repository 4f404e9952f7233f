"""Folders of results, and the tables and paths that a command prints."""

import math
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import typer

from esen.errors import InputError
from esen.terminal import make_console
from esen.text import Grey, printable

if TYPE_CHECKING:
    from esen.study.campaign import CampaignResult, CampaignRun
    from esen.track import Tracker

RUNS = Path("runs")
LAST = "last.safetensors"
RECIPE = "recipe.yaml"
_PIPED_WIDTH = 150
"""Width of a table that is written to a file or a pipe, in characters."""
_LONG_HEADING = 12
"""Characters beyond which a heading has its unit on a second line."""
_NOTHING: Mapping[str, str] = MappingProxyType({})
_BRACKET = re.compile(r" (?=[(\[])")
"""Where a long heading is broken into lines."""


_only_checks: ContextVar[bool] = ContextVar("only_checks", default=False)


class OptionsAreRight(Exception):  # noqa: N818  # it is no error
    """Ends a command whose options were only to be checked, where it would begin to compute."""


@contextmanager
def only_checks() -> Iterator[None]:
    """Within the block, a command checks its options and input files and raises `OptionsAreRight`.

    It neither looks at its potential nor writes anything.
    """
    token = _only_checks.set(True)
    try:
        yield
    finally:
        _only_checks.reset(token)


def fresh_folder(name: str) -> Path:
    """Return `runs/<name>`, or `runs/<name>-2`, `-3`, … if that exists. The folder is not made."""
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


def chosen_folder(folder: Path, *, resume: bool) -> Path:
    """Return the folder given by `--output` for a training, if it may be written to.

    Raises:
        InputError: The folder holds a run and `--resume` is not given, or the reverse.
    """
    begun = (folder / LAST).exists()
    if not begun and not resume and (folder / RECIPE).exists():
        raise InputError(
            f"--output {folder}: the run would overwrite the {RECIPE} in this folder; give another folder"
        )
    if begun and not resume:
        raise InputError(
            f"--output {folder}: the folder holds a run ({LAST}); resume it with --resume, or give another folder"
        )
    if resume and not begun and not (folder / RECIPE).exists():
        raise InputError(
            f"--output {folder}: the folder holds no run to resume (no {LAST}); leave out --resume"
        )
    return writable(folder)


def result_folder(given: Path | None, name: str) -> Path:
    """Return the folder given by `--output` for results, or a new one of this name.

    Raises:
        InputError: The folder cannot be written to, or a training left its results there.
    """
    if _only_checks.get():
        return RUNS / name
    return fresh_folder(name) if given is None else not_a_run(given.expanduser())


def not_a_run(folder: Path) -> Path:
    """Return the folder for results, if it may be written to.

    Raises:
        InputError: The folder cannot be written to, or a training left its results there.
    """
    if (folder / LAST).exists():
        raise InputError(
            f"--output {folder}: the folder holds a training, whose results would be overwritten; give another folder"
        )
    return writable(folder)


def open_test(
    command: str, potentials: Sequence[str], folder: Path, *, device: str, track: bool
) -> "Tracker":
    """Return the tracker of a test of potentials, which begins here.

    Args:
        command: its name.
        potentials: as `resolve_potential` takes them.
        folder: of the results.
        device: as the user gave it.
        track: whether the test is kept in MLflow.

    Raises:
        OptionsAreRight: they were only to be checked.
    """
    if _only_checks.get():
        raise OptionsAreRight
    from esen.study import tracked

    return tracked.open_test(command, potentials, folder, device=device, enabled=track)


@contextmanager
def campaign_run(
    command: str,
    potentials: Sequence[str],
    *,
    calculator_args: Sequence[str] | None,
    dtype: Literal["float32", "float64"] | None,
    device: str,
    output: Path | None,
    track: bool,
    **options: Any,
) -> Iterator["CampaignRun"]:
    """Give what a campaign needs: its folder, tracker and processes, and the options that all campaigns have.

    Args:
        command: names the folder that is made if none is given.
        potentials: as `resolve_potential` takes them.
        calculator_args: for `emt`, `lj` and factories.
        dtype: of checkpoints.
        device: of checkpoints.
        output: the folder given by `--output`.
        track: whether the run is kept in MLflow; only the first process tracks.
        **options: of `CampaignOptions`.

    Raises:
        InputError: the folder cannot be written to, or a training left its results there.
        OptionsAreRight: they were only to be checked.
    """
    if _only_checks.get():
        raise OptionsAreRight
    from esen.study.campaign import CampaignOptions, CampaignRun
    from esen.study.potentials import PotentialOptions
    from esen.study.processes import torchrun_processes

    how = PotentialOptions(calculator_args=calculator_args or (), dtype=dtype, device=device)
    with torchrun_processes() as processes:
        folder = Path(processes.first_says("folder", lambda: str(result_folder(output, command))))
        with open_test(
            command, potentials, folder, device=device, track=track and processes.is_first
        ) as tracker:
            yield CampaignRun(potentials, folder, tracker, CampaignOptions(**options), how, processes)


def print_campaign(
    result: "CampaignResult | None", links: Mapping[str, str], styles: Mapping[str, str] = _NOTHING
) -> None:
    """Print tables, remarks and paths of a campaign.

    Args:
        result: Result of the campaign; None in all processes but the first, which print nothing.
        links: Where MLflow shows the run.
        styles: Styles of rows, as in `print_table`.

    Raises:
        typer.Exit: With code 1, an item failed.
    """
    if result is None:
        return
    for table in result.tables:
        print_table(table.texts(), words=table.wrapping, styles=styles)
    for line in result.lines:
        say(line)
    if result.lines:
        say("")
    print_paths(result.paths, links)
    # trajectories have no table of items, and cannot be computed again one by one
    written = result.paths.get("table")
    if written and any(getattr(record, "failure", "") for mine in result.records.values() for record in mine):
        say(f"The same command with --retry --output {written.parent} computes the failed items again.")
    if result.failed:
        raise typer.Exit(1)


def above_zero(option: str, value: float, expected: str) -> None:
    """Check the value of an option.

    Raises:
        InputError: It is not a finite number above 0.
    """
    if not 0 < value < math.inf:
        raise InputError(f"{option} {value:g}: expected more than 0, {expected}")


def writable(folder: Path) -> Path:
    """Return the folder if it can be written to or made, so that a mistake is reported before the work.

    Raises:
        InputError: The folder cannot be written to or made.
    """
    above = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not above.is_dir():
        raise InputError(f"{folder}: expected a folder for the output, but {above} is a file")
    if not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: no permission to write in {above}; give another folder with --output")
    return folder


def print_table(
    rows: Sequence[Mapping[str, Any]] | Sequence[Sequence[Any]],
    *,
    words: Collection[str] | None = None,
    numbers: Literal["left", "right"] = "right",
    styles: Mapping[str, str] = _NOTHING,
) -> None:
    """Print a table, at full width to a file or a pipe. A cell without a value has a dash.

    Args:
        rows: Mappings with the same keys, which become the heading, or sequences of the same length without a heading.
        words: Columns of text, which may be broken into lines; columns without a number by default.
        numbers: Alignment of the other columns.
        styles: Rich style of a row, by the beginning of its verdict.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    console = _table_console()
    headed = isinstance(rows[0], Mapping)
    table = Table(box=box.SIMPLE_HEAD, show_header=headed, pad_edge=False)
    cells = [list(row.values() if isinstance(row, Mapping) else row) for row in rows]
    for title, column in zip(rows[0], zip(*cells, strict=True), strict=True):
        of_words = (
            title in words if words is not None else not any(isinstance(v, int | float) for v in column)
        )
        heading = printable(str(title)) if headed else ""
        if of_words:
            table.add_column(Text(heading), overflow="fold")
        else:
            shown = heading if len(heading) <= _LONG_HEADING else _BRACKET.sub("\n", heading)
            table.add_column(Text(shown), justify=numbers, no_wrap=True)
    for row, values in zip(rows, cells, strict=True):
        verdict = str(row.get("verdict")) if isinstance(row, Mapping) else ""
        style = next((style for start, style in styles.items() if verdict.startswith(start)), None)
        shown_values = (
            Text(printable(_text(value)), style="dim" if isinstance(value, Grey) else "") for value in values
        )
        table.add_row(*shown_values, style=style)
    console.print(table)


def table_width() -> int:
    """Return the width that `print_table` has, in characters."""
    return int(_table_console().width)


def _table_console() -> Any:
    console = make_console(stderr=False)
    return console if console.is_terminal else make_console(stderr=False, width=_PIPED_WIDTH)


def print_paths(paths: Mapping[str, Path], links: Mapping[str, str] = _NOTHING) -> None:
    """Print the files that were written, one line each with a description. A long path is neither cut nor wrapped.

    Args:
        paths: Description and path of each file.
        links: Where MLflow shows the run.
    """
    shown: dict[str, Path | str] = {**paths, **links}
    width = max(map(len, shown), default=0)
    for name, path in shown.items():
        say(f"{name:<{width}}  {path}")


def say(*lines: str, err: bool = False) -> None:
    """Print lines to stdout or stderr. All text of the commands passes here, and is made `printable`."""
    typer.echo("\n".join(map(printable, lines)), err=err)  # noqa: TID251


def _text(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
