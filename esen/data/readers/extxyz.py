"""Extended XYZ, plain or compressed."""

import io
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io.extxyz import key_val_str_to_dict, read_xyz

from esen.data.readers.extxyz_plain import parse_plain
from esen.data.readers.frame import Frame, Record
from esen.data.readers.opening import opened
from esen.data.readers.select import select
from esen.errors import InputError

_GEOMETRY = ("Lattice", "pbc", "Properties")
_ANY_LENGTH = re.compile(r"(?<!\S)(stress|virial)=")
_ANY_LENGTH_MARK = "any_length:"


def read_extxyz(path: Path, selection: slice) -> list[Frame]:
    """The selected frames of one file.

    Raises:
        InputError: the file cannot be opened or decompressed, is empty, is no extended XYZ, or a frame is
            broken.
    """
    return [parse_extxyz(record) for record in select(extxyz_records(path), selection)]


def extxyz_records(path: Path) -> Iterator[Record]:
    """The text of each frame of a file. Blank lines between frames are skipped.

    Raises:
        InputError: the file cannot be opened or decompressed, is empty, or is not divided into frames.
    """
    count = 0
    with opened(path, "extended XYZ", lambda: f"frame {count - 1}") as (file, part):
        for line, text in _blocks(file, str(path)):
            yield Record(text, f"{path}, frame {count}", line, part())
            count += 1
    if not count:
        raise InputError(f"{path}: the file is empty")


def text_records(text: str, where: str) -> Iterator[Record]:
    """As `extxyz_records`, of a text; `where` it comes from is for messages."""
    for count, (line, block) in enumerate(_blocks(io.StringIO(text), where)):
        yield Record(block, f"{where}, frame {count}", line)


def parse_extxyz(record: Record) -> Frame:
    """The frame of a record: at once where it is plain, by ASE where it is not.

    Raises:
        InputError: the text is no frame of extended XYZ; says what is wrong with it.
    """
    plain = parse_plain(record.content, record.source)
    return plain if plain is not None else parse_by_ase(record)


def _blocks(file: Iterable[str], where: str) -> Iterator[tuple[int, str]]:
    """The number of the first line and the text of each frame."""
    lines = iter(file)
    number = count = 0
    for header in lines:
        number += 1
        if header.isspace():
            continue
        atoms = _atom_count(header, f"{where}, frame {count} (line {number})", count)
        body = list(islice(lines, atoms + 1))
        if len(body) < atoms + 1:
            found = max(len(body) - 1, 0)
            raise InputError(
                f"{where}, frame {count} (line {number}): says {atoms} atoms, but the file ends after {found}"
            )
        yield number, header + "".join(body)
        number += atoms + 1
        count += 1


def _atom_count(header: str, where: str, frame: int) -> int:
    if header.strip().isdecimal() and int(header) > 0:
        return int(header)
    hint = f"; has frame {frame - 1} as many atoms as it says?" if frame else " (is it extended XYZ?)"
    raise InputError(f"{where}: expected a number of atoms, got {_shown(header)}{hint}")


def parse_by_ase(record: Record) -> Frame:
    """The frame of a record, read by ASE.

    Raises:
        InputError: the text is no frame of extended XYZ; says what is wrong with it.
    """
    text, line, source = record.content, record.line, record.source
    try:
        atoms: Atoms = next(read_xyz(io.StringIO(text), 0, properties_parser=_parse_comment))
        positions = np.asarray(atoms.positions, dtype=np.float64)
    except Exception as error:  # ASE lets through whatever its parsing meets
        raise InputError(f"{source} (line {line}): {_what_is_wrong(text, line, error)}") from error
    results = atoms.calc.results if atoms.calc is not None else {}
    arrays = {**atoms.arrays, **{k: v for k, v in results.items() if np.shape(v)[:1] == (len(atoms),)}}
    return Frame(
        numbers=atoms.numbers.astype(np.int64),
        positions=positions,
        cell=np.asarray(atoms.cell, dtype=np.float64),
        pbc=np.asarray(atoms.pbc, dtype=np.bool_),
        values=atoms.info.get("values", {}),
        arrays={k: v for k, v in arrays.items() if k not in ("numbers", "positions")},
        source=source,
    )


def _parse_comment(comment: str) -> dict[str, Any]:
    """What ASE needs for the geometry, and everything else untouched under `values`.

    ASE would move energies and stresses into a calculator, refuse a `stress` of six numbers, and keep only
    the upper triangle of one of nine. The marks keep it from doing so.
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
    message = str(error).splitlines()
    return f"not a frame of extended XYZ ({message[0] if message else type(error).__name__})"


def _shown(line: str) -> str:
    line = line.strip()
    return repr(line if len(line) <= 40 else line[:37] + "…")
