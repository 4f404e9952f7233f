"""One process a folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from esen.errors import InputError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Within its block no other process can lock the folder. The system lifts the lock of a process that is killed.

    Raises:
        InputError: another process has it.
    """
    try:
        import fcntl
    except ImportError:  # Windows: there two runs are kept apart by their users
        yield
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(place)
        raise InputError(
            f"{folder}: another process is at work in it; wait for it, or give another folder with --output"
        ) from error
    except OSError:  # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(place)
