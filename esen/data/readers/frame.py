"""Frames as they are found in files, and the choice of frames by a Python slice."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float64, Int64

from esen.data.structure import Structure
from esen.errors import InputError, typed_line

T = TypeVar("T")

_SLICE = re.compile(r"\s*(-?\d{1,18})?\s*:\s*(-?\d{1,18})?\s*(?::\s*(-?[1-9]\d{0,17})?\s*)?")
_LONGEST = 200
"""Characters of a library's message that an error quotes at most."""


@contextmanager
def refusing(where: Callable[[], str]) -> Iterator[None]:
    """Turn any error of reading within the block into one line for the user. Every reader runs in such a block.

    Args:
        where: returns file and frame at the time of the error.

    Raises:
        InputError: for any other exception.
    """
    try:
        yield
    except InputError:
        raise
    except UnicodeDecodeError as error:
        byte, before = error.object[error.start], error.object[max(error.start - 30, 0) : error.start]
        place = f"after {before.decode(errors='replace')!r}" if before else "at its beginning"
        raise InputError(
            f"{where()}: is not UTF-8 text (byte 0x{byte:02x} {place}); it is damaged, or save it as UTF-8"
        ) from error
    except OSError as error:
        raise InputError(f"{where()}: cannot be read ({error.strerror or typed_line(error)})") from error
    except Exception as error:  # the readers of libraries raise errors of any kind on damaged files
        raise InputError(f"{where()}: cannot be read ({typed_line(error)[:_LONGEST]})") from error


def refusing_frames(find: Callable[[Path], Iterator["RawFrame"]], path: Path) -> Iterator["RawFrame"]:
    """Iterate over the frames that a reader finds in a file; any error names the file and the frame.

    Raises:
        InputError: the file cannot be read.
    """
    count = 0
    with refusing(lambda: f"{path}, frame {count}" if count else str(path)):
        for raw in find(path):
            yield raw
            count += 1


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
        with refusing(lambda: self.source):
            structure = self.parse(self)
        numbers = structure.numbers
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(chemical_symbols):
            wrong = numbers.min() if numbers.min() < 0 else numbers.max()
            raise InputError(f"{self.source}: {wrong} is the atomic number of no element")
        return structure


def reals(value: Any, shape: tuple[int, ...], name: str) -> Float64[np.ndarray, "..."]:
    """Return an array of real numbers as float64.

    Args:
        value: an array or lists.
        shape: expected shape; −1 fits any length.
        name: what the numbers are, for messages.

    Raises:
        ValueError: the values are not real numbers, or their number does not fit the shape.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name}: expected real numbers, got {array.dtype}")
    if array.size != np.prod(shape) and -1 not in shape:
        raise ValueError(f"{name}: expected numbers of the shape {shape}, got {array.shape}")
    return array.astype(np.float64).reshape(shape)


def whole_numbers(value: Any) -> Int64[np.ndarray, " N"]:
    """Return atomic numbers as int64.

    Raises:
        ValueError: a value is not a whole number above 0, or they are not a flat list.
    """
    numbers = reals(value, (-1,), "atomic numbers")
    wrong = numbers[~((numbers > 0) & (numbers == np.round(numbers)))]
    if np.ndim(value) != 1 or wrong.size:
        raise ValueError(
            f"expected a list of atomic numbers, got {wrong[0] if wrong.size else np.shape(value)}"
        )
    return numbers.astype(np.int64)


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
