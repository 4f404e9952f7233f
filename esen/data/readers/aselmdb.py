"""`.aselmdb`: LMDB files of ASE rows, in which OMat24, sAlex and OMol25 are published, opened read-only without a lock.

A row is zlib-compressed JSON under its number in ASCII, counted from 1. `nextid` and `deleted_ids` say which rows
exist. Units and signs are ASE's.
"""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from esen.data.readers.frame import RawFrame
from esen.data.structure import Structure
from esen.errors import InputError

MAGIC = b"\xde\xc0\xef\xbe"
"""At byte 16 of every LMDB file."""

_VALUES = ("energy", "free_energy", "stress")
_ARRAYS = ("forces",)


def aselmdb_frames(path: Path) -> Iterator[RawFrame]:
    """Iterate over the stored rows of a file in the order of their numbers.

    Raises:
        InputError: the file is not LMDB of this layout, or a row is missing.
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
                yield RawFrame(bytes(content), source, done=(index + 1) / len(ids), parse=parse_aselmdb)
        except lmdb.Error as error:
            raise InputError(f"{path}: is damaged ({error})") from error


def parse_aselmdb(raw: RawFrame) -> Structure:
    """Parse a row.

    Raises:
        InputError: the row is damaged, or has no geometry.
    """
    try:
        row = _unpacked(raw.content)
        numbers = np.asarray(row["numbers"], dtype=np.int64)
        others = {**_section(row, "data"), **_section(row, "key_value_pairs")}
        values = others | {key: _flat(row[key]) for key in _VALUES if row.get(key) is not None}
        arrays = {k: np.asarray(row[k], dtype=np.float64) for k in _ARRAYS if row.get(k) is not None}
        return Structure(
            numbers=numbers,
            positions=np.asarray(row["positions"], dtype=np.float64).reshape(-1, 3),
            cell=np.asarray(row.get("cell", np.zeros((3, 3))), dtype=np.float64).reshape(3, 3),
            pbc=np.asarray(row.get("pbc", [False] * 3), dtype=np.bool_),
            info=values,
            arrays=arrays,
            source=raw.source,
        )
    except KeyError as error:
        raise InputError(f"{raw.source}: the row has no {error}") from error
    except (zlib.error, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{raw.source}: the row is damaged ({error})") from error


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
    """Convert ASE's `{"__ndarray__": [shape, dtype, numbers]}` to an array."""
    if "__ndarray__" in entry:
        shape, dtype, numbers = entry["__ndarray__"]
        return np.array(numbers, dtype=dtype).reshape(shape)
    return entry


def _section(row: dict[str, Any], name: str) -> dict[str, Any]:
    section = row.get(name) or {}
    if isinstance(section, str):  # some tools of ASE store it as text
        section = json.loads(section, object_hook=_revived)
    return dict(section)


def _flat(value: Any) -> Any:
    return np.asarray(value, dtype=np.float64).ravel() if np.ndim(value) else value
