"""`.aselmdb`: LMDB files of ASE rows, in which OMat24, sAlex and OMol25 are published; opened read-only, no lock.

A row is zlib-compressed JSON under its number in ASCII, counted from 1; `nextid` and `deleted_ids` say which rows there
are. Units and signs are ASE's.
"""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from esen.data.readers.frame import Frame, Record
from esen.errors import InputError

MAGIC = b"\xde\xc0\xef\xbe"
"""At byte 16 of every LMDB file."""

_VALUES = ("energy", "free_energy", "stress")
_ARRAYS = ("forces",)


def aselmdb_records(path: Path) -> Iterator[Record]:
    """The rows of one file as they are stored, in the order of their numbers.

    Raises:
        InputError: it is no LMDB file of this layout, or a row is missing.
    """
    if not path.is_file():
        raise InputError(f"{path}: cannot be read (no such file)")
    try:
        environment = lmdb.open(
            str(path), subdir=False, readonly=True, lock=False, readahead=False, max_readers=1, meminit=False
        )
    except lmdb.Error as error:
        raise InputError(f"{path}: is no LMDB file ({error})") from error
    with environment, environment.begin() as rows:
        try:
            ids = _ids(rows, path)
            for index, number in enumerate(ids):
                content = rows.get(str(number).encode())
                source = f"{path}, frame {index}"
                if content is None:
                    raise InputError(f"{source}: row {number} is missing")
                yield Record(bytes(content), source, done=(index + 1) / len(ids))
        except lmdb.Error as error:
            raise InputError(f"{path}: is damaged ({error})") from error


def parse_aselmdb(record: Record) -> Frame:
    """The frame of a row.

    Raises:
        InputError: the row is damaged, or has no geometry.
    """
    if isinstance(record.content, Frame):
        return record.content
    try:
        row = _unpacked(record.content)
        numbers = np.asarray(row["numbers"], dtype=np.int64)
        others = {**_section(row, "data"), **_section(row, "key_value_pairs")}
        values = others | {key: _flat(row[key]) for key in _VALUES if row.get(key) is not None}
        arrays = {k: np.asarray(row[k], dtype=np.float64) for k in _ARRAYS if row.get(k) is not None}
        return Frame(
            numbers=numbers,
            positions=np.asarray(row["positions"], dtype=np.float64).reshape(-1, 3),
            cell=np.asarray(row.get("cell", np.zeros((3, 3))), dtype=np.float64).reshape(3, 3),
            pbc=np.asarray(row.get("pbc", [False] * 3), dtype=np.bool_),
            values=values,
            arrays=arrays,
            source=record.source,
            converted=True,
        )
    except KeyError as error:
        raise InputError(f"{record.source}: the row has no {error}") from error
    except (zlib.error, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{record.source}: the row is damaged ({error})") from error


def sizes_beside(path: Path) -> np.ndarray | None:
    """How many atoms the frames of a folder of `.aselmdb` files have, if its `metadata.npz` says so."""
    file = (path if path.is_dir() else path.parent) / "metadata.npz"
    if not file.is_file():
        return None
    with np.load(file) as saved:
        return np.asarray(saved["natoms"]) if "natoms" in saved else None


def _ids(rows: Any, path: Path) -> list[int]:
    following = rows.get(b"nextid")
    if following is None:
        raise InputError(f"{path}: is LMDB, but not of ASE rows: there is no 'nextid'")
    deleted = rows.get(b"deleted_ids")
    try:
        gone = set(_unpacked(deleted)) if deleted is not None else set()
        return [number for number in range(1, int(_unpacked(following))) if number not in gone]
    except (zlib.error, ValueError, TypeError) as error:
        raise InputError(f"{path}: 'nextid' or 'deleted_ids' is damaged ({error})") from error


def _unpacked(content: bytes) -> Any:
    return json.loads(zlib.decompress(content), object_hook=_revived)


def _revived(entry: dict[str, Any]) -> Any:
    """Arrays are kept as `{"__ndarray__": [shape, dtype, numbers]}`."""
    if "__ndarray__" in entry:
        shape, dtype, numbers = entry["__ndarray__"]
        return np.array(numbers, dtype=dtype).reshape(shape)
    return entry


def _section(row: dict[str, Any], name: str) -> dict[str, Any]:
    section = row.get(name) or {}
    if isinstance(section, str):  # ASE's own tools may keep it as a text
        section = json.loads(section, object_hook=_revived)
    return dict(section)


def _flat(value: Any) -> Any:
    return np.asarray(value, dtype=np.float64).ravel() if np.ndim(value) else value
