"""Extended XYZ: files, compressed or not, and zips of files such as MPtrj's, which are read without unpacking."""

import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TextIO

from esen.data.readers.extxyz_frame import parse_extxyz, shown
from esen.data.readers.frame import RawFrame, refusing
from esen.data.readers.opening import as_text, opened
from esen.errors import InputError

SUFFIXES = (".xyz", ".extxyz")
_MOST_ATOMS = 1_000_000_000
_LONGEST_COUNT = 10_000
"""Characters that the line of a number of atoms has at most."""


def extxyz_frames(path: Path) -> Iterator[RawFrame]:
    """Iterate over the texts of the frames of a file. Blank lines between frames are skipped.

    Raises:
        InputError: the file is empty, or is not divided into frames.
    """
    count = 0
    with opened(path) as (file, done):
        for raw in _blocks(file, str(path)):
            yield replace(raw, done=done())
            count += 1
    if not count:
        raise InputError(f"{path}: the file is empty")


def zip_frames(path: Path) -> Iterator[RawFrame]:
    """Iterate over the texts of the frames of all extended XYZ files in a zip, in its order.

    Raises:
        InputError: the file holds no extended XYZ, or a file in it is damaged or not divided into frames.
    """
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(SUFFIXES)]
        names = [name for name in names if not name.startswith("__MACOSX/")]
        if not names:
            raise InputError(f"{path}: the zip holds no *.xyz or *.extxyz")
        for number, name in enumerate(names, start=1):
            where = f"{path}/{name}"
            with refusing(partial(str, where)), as_text(archive.open(name)) as file:
                for raw in _blocks(file, where):
                    yield replace(raw, done=number / len(names))


def _blocks(file: TextIO, where: str) -> Iterator[RawFrame]:
    """Divide the lines of a file into frames by their numbers of atoms."""
    number = count = 0
    while header := file.readline(_LONGEST_COUNT):  # so that a file without line ends is not read as a whole
        number += 1
        if header.isspace():
            continue
        source = f"{where}, frame {count}"
        atoms = _atom_count(header, f"{source} (line {number})", count)
        body = list(islice(file, atoms + 1))
        if len(body) < atoms + 1:
            found = max(len(body) - 1, 0)
            raise InputError(f"{source} (line {number}): says {atoms} atoms, but the file ends after {found}")
        text = header + "".join(body)
        yield RawFrame(text, source, number, parse=parse_extxyz, fixed_units=False)
        number += atoms + 1
        count += 1


def _atom_count(header: str, where: str, frame: int) -> int:
    words = header.strip().removeprefix("\ufeff")  # where files were joined
    if words.isascii() and words.isdecimal():
        if len(words) < 20 and 0 < int(words) <= _MOST_ATOMS:
            return int(words)
        if not words.strip("0"):
            raise InputError(f"{where}: says that it has no atoms; remove the frame")
        raise InputError(f"{where}: says {shown(words)} atoms, which is more than any structure has")
    hint = f"; has frame {frame - 1} as many atoms as it says?" if frame else " (is it extended XYZ?)"
    raise InputError(f"{where}: expected a number of atoms, got {shown(header)}{hint}")
