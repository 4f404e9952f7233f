"""The command `esen`. Each command imports what it needs when it runs, so that help answers at once."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from esen.errors import InputError
from esen.terminal import prepare_streams
from esen.text import printable
from esen_cli.ablate import ablate
from esen_cli.check import check
from esen_cli.compare import compare
from esen_cli.conductivity import conductivity
from esen_cli.data import data_app
from esen_cli.elastic import elastic
from esen_cli.help import HelpfulApp
from esen_cli.import_checkpoint import import_checkpoint
from esen_cli.mae import mae
from esen_cli.md_drift import md_drift
from esen_cli.output import say
from esen_cli.phonons import phonons
from esen_cli.recipe import recipe_app
from esen_cli.relax import relax
from esen_cli.report import report
from esen_cli.train import train

_DESCRIPTION = "Train eSEN potentials and test what they predict."
_OF_RECIPES = ("train", "ablate", "recipe")
"""Commands whose mistakes are in a recipe; others have options for the same settings."""
_AS_OPTIONS = {
    r"\bdata\.(energy|forces|stress)_(key|convention)(:(?= ))?": r"--\1-\2",
    r", or write train\.loss\.\w+: 0": "",
    r"^frames: (?=')|\bframes (?='[^']*' selects)": "--frames ",
    r"cannot tell its format[\w ]*; write format: one of": "is in no format with labels; expected",
}
"""Words about keys of a recipe, as a pattern, and their replacements in the words of options."""
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


class _OneLineErrors(TyperGroup):
    """A group of commands that reports a user's mistake in one line and exits with code 2."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Read the arguments of the group."""
        with _printable_usage():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run a command. An error that is a defect of the program keeps its traceback."""
        try:
            with _printable_usage():
                return super().invoke(ctx)
        except InputError as error:
            recipe = ctx.invoked_subcommand in _OF_RECIPES
            print_error(*(str(error) if recipe else in_options(str(error))).split("\n"))
        except BrokenPipeError:
            raise  # the reader of a pipe has left, as in `esen recipe schema | head`; that is no error
        except OSError as error:
            message = _os_message(error)
            if message is None:
                raise
            print_error(message)
        except KeyboardInterrupt as stop:
            say(str(stop) or "interrupted", err=True)
            raise typer.Exit(130) from None
        raise typer.Exit(2)


@contextmanager
def _printable_usage() -> Iterator[None]:
    """Make the message of an error in the arguments printable; typer shows it as it is."""
    try:
        yield
    except Exception as error:
        if hasattr(error, "format_message"):
            error.message = printable(error.message)  # type: ignore[attr-defined]
        raise


app = HelpfulApp(_DESCRIPTION, group=_OneLineErrors, completion=True)
app.command()(train)
app.command()(ablate)
app.command()(mae)
app.command()(check)
app.command("md-drift")(md_drift)
app.command()(phonons)
app.command()(conductivity)
app.command()(relax)
app.command()(elastic)
app.command()(report)
app.command()(compare)
app.command("import")(import_checkpoint)
app.add_typer(recipe_app, name="recipe")
app.add_typer(data_app, name="data")


def _print_version(wanted: bool) -> None:
    if wanted:
        from esen import __version__

        say(f"esen {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train eSEN potentials and test what they predict."""


def print_error(*lines: str) -> None:
    """Print lines to stderr, each after `error: `."""
    colour = False if os.environ.get("NO_COLOR") else None  # None: only on a terminal
    head = typer.style("error: ", fg=typer.colors.RED, bold=True)
    for line in lines:
        typer.echo(head + printable(line), err=True, color=colour)  # noqa: TID251


def in_options(message: str) -> str:
    """Replace keys of a recipe by the options of a command.

    >>> in_options("a.xyz, frame 0: no energy under 'e'; the frame has E: write data.energy_key: E")
    "a.xyz, frame 0: no energy under 'e'; the frame has E: write --energy-key E"
    """
    for pattern, words in _AS_OPTIONS.items():
        message = re.sub(pattern, words, message, flags=re.MULTILINE)
    return message


def _os_message(error: OSError) -> str | None:
    """Describe an error of the operating system in one line, or return None if it does not concern a file."""
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in _DISK_FULL:
        return f"{where}the disk is full: {error.strerror}; files saved earlier are kept"
    if error.filename and error.strerror:
        return f"{where}{error.strerror[0].lower()}{error.strerror[1:]}"
    return None


def main() -> None:
    """Run the command line."""
    prepare_streams()
    app()


if __name__ == "__main__":
    main()
