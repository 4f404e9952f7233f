"""Some of the frames of a file, chosen by a Python slice."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import TypeVar

from esen.errors import InputError

T = TypeVar("T")

_SLICE = re.compile(r"\s*(-?\d+)?\s*:\s*(-?\d+)?\s*(?::\s*(-?[1-9]\d*)?\s*)?")


def parse_slice(text: str) -> slice:
    """A Python slice from its text.

    Raises:
        InputError: it is not one.

    >>> parse_slice("0:250"), parse_slice("::10")
    (slice(0, 250, None), slice(None, None, 10))
    """
    match = _SLICE.fullmatch(text)
    if match is None:
        raise InputError(
            f"frames: {text!r} is not a Python slice; write e.g. '0:250', '::10', or '7:8' for one frame"
        )
    return slice(*(int(part) if part else None for part in match.groups()))


def select(items: Iterator[T], selection: slice) -> Iterator[T]:
    """Those items that the slice selects, one by one; what counts from the end needs all of them in memory first.

    >>> "".join(select(iter("abcdef"), slice(1, None, 2))), "".join(select(iter("abcdef"), slice(-2, None)))
    ('bdf', 'ef')
    """
    if any(part is not None and part < 0 for part in (selection.start, selection.stop, selection.step)):
        return iter(list(items)[selection])
    return islice(items, selection.start, selection.stop, selection.step)
