"""The terminal: no text of a file or an error controls it, and a stream that is not UTF-8 loses letters, not the run.

Rich is imported where it is used, because `esen --help` does without it.
"""

import logging
import os
import sys
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from esen.text import printable, printable_lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


def prepare_streams() -> None:
    """Let stdout and stderr replace letters that they lack, and open those that are closed to nothing.

    A closed descriptor would be given to the next file that is opened, into which libraries would then print.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123  # open to the end
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_PrintableFormatter())


class _PrintableFormatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the name in logging
        text = super().formatMessage(record)
        ours = str(record.name).partition(".")[0] == "esen"  # each message is one line
        return printable(text) if ours else printable_lines(text)


def make_console(*, stderr: bool = True, **options: Any) -> "Console":
    """Return a console of Rich that shows text as it is: no markup, no highlighting, nothing that controls it.

    Args:
        stderr: whether it writes to stderr; otherwise to stdout.
        **options: further options of Rich's console.
    """
    return _console_class()(stderr=stderr, markup=False, emoji=False, highlight=False, **options)


def progress_bar(
    *columns: Any, on: "Console | None" = None, hidden: bool = False, **options: Any
) -> "Progress":
    """Return a progress bar that disappears at its end, and that only a terminal shows.

    Args:
        *columns: of the bar; a text is a format such as `{task.description}`.
        on: console; stderr if it is None.
        hidden: whether it is not shown on a terminal either.
        **options: further options of Rich's progress bar.
    """
    from rich.progress import Progress, TextColumn

    on = make_console() if on is None else on
    made = [TextColumn(column, markup=False) if isinstance(column, str) else column for column in columns]
    return Progress(*made, console=on, transient=True, disable=hidden or not on.is_terminal, **options)


@cache
def _console_class() -> "type[Console]":
    from rich.console import Console
    from rich.segment import Segment

    class PrintableConsole(Console):
        def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                shown = segment.text if segment.control else printable_lines(segment.text)
                yield segment if shown == segment.text else Segment(shown, segment.style)

    return PrintableConsole
