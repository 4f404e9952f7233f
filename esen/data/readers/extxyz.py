"""Extended XYZ, plain or compressed, through ASE."""

import bz2
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from ase import Atoms
from ase.io.extxyz import key_val_str_to_dict, read_xyz

from esen.data.readers.frame import Frame
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
    blocks = list(enumerate(_blocks(path)))
    if not blocks:
        raise InputError(f"{path}: the file is empty")
    return [_frame(text, line, f"{path}, frame {index}") for index, (line, text) in blocks[selection]]


def _open(path: Path) -> TextIO:
    match path.suffix:
        case ".gz":
            return gzip.open(path, "rt", encoding="utf-8")
        case ".bz2":
            return bz2.open(path, "rt", encoding="utf-8")
        case ".xz":
            return lzma.open(path, "rt", encoding="utf-8")
        case _:
            return path.open(encoding="utf-8")


def _blocks(path: Path) -> Iterator[tuple[int, str]]:
    """The number of the first line and the text of each frame. Blank lines between frames are skipped."""
    count = 0
    try:
        with _open(path) as file:
            lines = enumerate(file, start=1)
            for number, header in lines:
                if header.isspace():
                    continue
                atoms = _atom_count(header, f"{path}, frame {count} (line {number})", count)
                body = [line for _, line in islice(lines, atoms + 1)]
                if len(body) < atoms + 1:
                    found = max(len(body) - 1, 0)
                    raise InputError(
                        f"{path}, frame {count} (line {number}): says {atoms} atoms, "
                        f"but the file ends after {found}"
                    )
                yield number, header + "".join(body)
                count += 1
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file, expected extended XYZ") from error
    except EOFError as error:
        raise InputError(f"{path}: the compressed file is cut off after frame {count - 1}") from error
    except (zlib.error, lzma.LZMAError) as error:
        raise InputError(
            f"{path}: the compressed file is damaged after frame {count - 1} ({error})"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def _atom_count(header: str, where: str, frame: int) -> int:
    if header.strip().isdecimal() and int(header) > 0:
        return int(header)
    hint = f"; has frame {frame - 1} as many atoms as it says?" if frame else " (is it extended XYZ?)"
    raise InputError(f"{where}: expected a number of atoms, got {_shown(header)}{hint}")


def _frame(text: str, line: int, source: str) -> Frame:
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
