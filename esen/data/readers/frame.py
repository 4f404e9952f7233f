"""Frames as they are found in files, and the choice of frames by a Python slice."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from esen.data.structure import Structure
from esen.errors import InputError

T = TypeVar("T")

_SLICE = re.compile(r"\s*(-?\d+)?\s*:\s*(-?\d+)?\s*(?::\s*(-?[1-9]\d*)?\s*)?")


def _parsed_already(raw: "RawFrame") -> Structure:
    structure: Structure = raw.content
    return structure


@dataclass(frozen=True, eq=False)
class RawFrame:
    """A frame that was found in a file but not parsed yet. It can be sent to another process for parsing.

    Attributes:
        content: text or bytes of the frame, or a `Structure` where finding it includes parsing it.
        source: file and frame, for messages.
        line: first line in the file; 0 for formats without lines.
        done: fraction of the file that has been read, 0 to 1.
        parse: function of the format that parses it.
        fixed_units: whether the format fixes units and signs, so that values named `energy`, `forces` and `stress` are
            already in those of `Structure`; otherwise the user says what they are.
    """

    content: Any
    source: str
    line: int = 0
    done: float = 1.0
    parse: Callable[["RawFrame"], Structure] = _parsed_already
    fixed_units: bool = True

    def structure(self) -> Structure:
        """Parse the frame, without labels: `info` and `arrays` hold all values by their names in the file.

        Raises:
            InputError: the content is damaged or not of the format.
        """
        return self.parse(self)


def parse_slice(text: str) -> slice:
    """Parse the text of a Python slice.

    Raises:
        InputError: the text is not a slice.

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
    """Iterate over the items that a slice selects; negative numbers need all items in memory first.

    >>> "".join(select(iter("abcdef"), slice(1, None, 2))), "".join(select(iter("abcdef"), slice(-2, None)))
    ('bdf', 'ef')
    """
    if any(part is not None and part < 0 for part in (selection.start, selection.stop, selection.step)):
        return iter(list(items)[selection])
    return islice(items, selection.start, selection.stop, selection.step)
