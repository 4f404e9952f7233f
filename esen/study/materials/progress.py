"""How far a run is, on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def shown(total: int, *, visible: bool) -> Iterator[Callable[[int, str], None]]:
    """A bar on stderr, gone at the end; gives what `do_jobs` calls with each job.

    Args:
        total: of jobs.
        visible: False: nothing is shown, as in all processes but one. Without a terminal nothing is shown either.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    hidden = not (visible and console.is_terminal)
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=total)
        yield lambda number, name: bar.update(task, completed=number, description=name)
