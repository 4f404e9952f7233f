"""Extended XYZ: files, compressed or not, and zips of files such as MPtrj's, which are read without unpacking."""

import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io.extxyz import key_val_str_to_dict, read_xyz

from esen.data.atoms import from_atoms
from esen.data.readers.extxyz_plain import parse_plain
from esen.data.readers.frame import RawFrame
from esen.data.readers.opening import opened
from esen.data.structure import Structure
from esen.errors import InputError, first_line

SUFFIXES = (".xyz", ".extxyz")
_GEOMETRY = ("Lattice", "pbc", "Properties")
_ANY_LENGTH = re.compile(r"(?<!\S)(stress|virial)=")
_ANY_LENGTH_MARK = "any_length:"


def extxyz_frames(path: Path) -> Iterator[RawFrame]:
    """Iterate over the texts of the frames of a file. Blank lines between frames are skipped.

    Raises:
        InputError: the file cannot be opened or decompressed, is empty, or is not divided into frames.
    """
    count = 0
    with opened(path, "extended XYZ", lambda: f"frame {count - 1}" if count else "its beginning") as (
        file,
        done,
    ):
        for raw in _blocks(file, str(path)):
            yield replace(raw, done=done())
            count += 1
    if not count:
        raise InputError(f"{path}: the file is empty")


def zip_frames(path: Path) -> Iterator[RawFrame]:
    """Iterate over the texts of the frames of all extended XYZ files in a zip, in its order.

    Raises:
        InputError: the file is not a zip, is damaged or holds no extended XYZ, or a file in it is not divided into
            frames.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(SUFFIXES)]
            names = [name for name in names if not name.startswith("__MACOSX/")]
            if not names:
                raise InputError(f"{path}: the zip holds no *.xyz or *.extxyz")
            for number, name in enumerate(names, start=1):
                where = f"{path}/{name}"
                try:
                    text = archive.read(name).decode()
                except (zipfile.BadZipFile, zlib.error, UnicodeDecodeError, RuntimeError) as error:
                    raise InputError(f"{where}: cannot be unpacked ({error})") from error
                for raw in _blocks(io.StringIO(text), where):
                    yield replace(raw, done=number / len(names))
    except zipfile.BadZipFile as error:
        raise InputError(f"{path}: is no zip, or was cut off ({error})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def parse_extxyz(raw: RawFrame) -> Structure:
    """Parse a frame: a plain one directly, any other by ASE.

    Raises:
        InputError: the text is not a frame of extended XYZ; the message says what is wrong with it.
    """
    plain = parse_plain(raw.content, raw.source)
    return plain if plain is not None else parse_by_ase(raw)


def _blocks(file: Iterable[str], where: str) -> Iterator[RawFrame]:
    """Divide the lines of a file into frames by their numbers of atoms."""
    lines = iter(file)
    number = count = 0
    for header in lines:
        number += 1
        if header.isspace():
            continue
        source = f"{where}, frame {count}"
        atoms = _atom_count(header, f"{source} (line {number})", count)
        body = list(islice(lines, atoms + 1))
        if len(body) < atoms + 1:
            found = max(len(body) - 1, 0)
            raise InputError(f"{source} (line {number}): says {atoms} atoms, but the file ends after {found}")
        text = header + "".join(body)
        yield RawFrame(text, source, number, parse=parse_extxyz, fixed_units=False)
        number += atoms + 1
        count += 1


def _atom_count(header: str, where: str, frame: int) -> int:
    if header.strip().isdecimal():
        if int(header) > 0:
            return int(header)
        raise InputError(f"{where}: says that it has no atoms; remove the frame")
    hint = f"; has frame {frame - 1} as many atoms as it says?" if frame else " (is it extended XYZ?)"
    raise InputError(f"{where}: expected a number of atoms, got {_shown(header)}{hint}")


def parse_by_ase(raw: RawFrame) -> Structure:
    """Parse a frame by ASE.

    Raises:
        InputError: the text is not a frame of extended XYZ; the message says what is wrong with it.
    """
    try:
        atoms: Atoms = next(read_xyz(io.StringIO(raw.content), 0, properties_parser=_parse_comment))
        structure = from_atoms(atoms, raw.source)
    except Exception as error:  # ASE passes on any error of its parsing
        problem = _what_is_wrong(raw.content, raw.line, error)
        raise InputError(f"{raw.source} (line {raw.line}): {problem}") from error
    results = atoms.calc.results if atoms.calc is not None else {}
    structure.arrays.update({k: v for k, v in results.items() if np.shape(v)[:1] == (len(atoms),)})
    return replace(structure, info=atoms.info.get("values", {}))


def _parse_comment(comment: str) -> dict[str, Any]:
    """Return the values of the geometry for ASE, and all others untouched under `values`.

    ASE would move energies and stresses into a calculator, refuse a `stress` of six numbers, and keep only
    the upper triangle of one of nine. The marks prevent this.
    """
    marked = _ANY_LENGTH.sub(rf"{_ANY_LENGTH_MARK}\1=", comment)
    values = key_val_str_to_dict(marked)
    geometry = {key: values.pop(key) for key in _GEOMETRY if key in values}
    return {**geometry, "values": {k.removeprefix(_ANY_LENGTH_MARK): v for k, v in values.items()}}


def _what_is_wrong(text: str, line: int, error: Exception) -> str:
    rows = text.splitlines()[2:]
    columns = len(rows[0].split())
    for number, row in enumerate(rows):
        if len(row.split()) != columns:
            return (
                f"says {len(rows)} atoms, but line {line + 2 + number} does not look like "
                f"the atoms before it: {_shown(row)}"
            )
    if isinstance(error, KeyError):
        return f"{error} is not an element"
    return f"not a frame of extended XYZ ({first_line(error)})"


def _shown(line: str) -> str:
    line = line.strip()
    return repr(line if len(line) <= 40 else line[:37] + "…")
