"""`.aselmdb`: LMDB files of ASE rows, in which OMat24, sAlex and OMol25 are published.

A row is zlib-compressed JSON under its number in ASCII, counted from 1. `nextid` and `deleted_ids` say which rows
exist. Units and signs are ASE's.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase.constraints import dict2constraint

from esen.data.readers.frame import RawFrame, reals, whole_numbers
from esen.data.readers.lmdb_file import Lmdb
from esen.data.structure import Structure
from esen.errors import InputError
from esen.files import parse_json

_VALUES = ("energy", "free_energy", "stress")
_ARRAYS = ("forces",)


def aselmdb_frames(path: Path) -> Iterator[RawFrame]:
    """Iterate over the stored rows of a file in the order of their numbers.

    Raises:
        InputError: the file is not LMDB of this layout, or a row is missing.
    """
    with path.open("rb") as file:
        rows = Lmdb(file, str(path))
        ids = _ids(rows, path)
        for index, number in enumerate(ids):
            content = rows.get(str(number).encode())
            source = f"{path}, frame {index}"
            if content is None:
                raise InputError(f"{source}: row {number} is missing")
            yield RawFrame(content, source, done=(index + 1) / len(ids), parse=parse_aselmdb)


def parse_aselmdb(raw: RawFrame) -> Structure:
    """Parse a row.

    Raises:
        Exception: the row is damaged, or has no geometry.
    """
    row = _unpacked(raw.content)
    if missing := {"numbers", "positions"} - row.keys():
        raise InputError(f"{raw.source}: the row has no {sorted(missing)[0]!r}")
    numbers = whole_numbers(row["numbers"])
    others = {**_section(row, "data"), **_section(row, "key_value_pairs")}
    values = others | {key: _flat(key, row[key]) for key in _VALUES if row.get(key) is not None}
    arrays = {key: reals(row[key], (len(numbers), 3), key) for key in _ARRAYS if row.get(key) is not None}
    if row.get("masses") is not None:
        arrays["masses"] = reals(row["masses"], (len(numbers),), "masses")
    return Structure(
        numbers=numbers,
        positions=reals(row["positions"], (len(numbers), 3), "positions"),
        cell=reals(row.get("cell", np.zeros((3, 3))), (3, 3), "cell"),
        pbc=np.asarray(row.get("pbc", [False] * 3), dtype=np.bool_).reshape(3),
        info=values,
        arrays=arrays,
        source=raw.source,
        constraints=tuple(map(dict2constraint, row.get("constraints") or ())),
    )


def _ids(rows: Lmdb, path: Path) -> list[int]:
    following = rows.get(b"nextid")
    if following is None:
        raise InputError(f"{path}: is LMDB, but not of ASE rows: there is no 'nextid'")
    deleted = rows.get(b"deleted_ids")
    try:
        gone = set(_unpacked(deleted)) if deleted is not None else set()
        last = int(_unpacked(following)) - 1
    except (zlib.error, ValueError, TypeError) as error:
        raise InputError(f"{path}: 'nextid' or 'deleted_ids' is damaged ({error})") from error
    if last - len(gone) > rows.entries:
        raise InputError(f"{path}: 'nextid' says {last} rows, but the file has {rows.entries} entries")
    return [number for number in range(1, last + 1) if number not in gone]


def _unpacked(content: bytes) -> Any:
    return parse_json(zlib.decompress(content), object_hook=_revived)


def _revived(entry: dict[str, Any]) -> Any:
    """Convert ASE's `{"__ndarray__": [shape, dtype, numbers]}` to an array."""
    if "__ndarray__" in entry:
        shape, dtype, numbers = entry["__ndarray__"]
        if np.dtype(dtype).kind not in "biufc":
            raise ValueError(f"an array of numbers has the type {dtype!r}")
        return np.array(numbers, dtype=dtype).reshape(shape)
    return entry


def _section(row: dict[str, Any], name: str) -> dict[str, Any]:
    section = row.get(name) or {}
    if isinstance(section, str):  # some tools of ASE store it as text
        section = parse_json(section, object_hook=_revived)
    return dict(section)


def _flat(name: str, value: Any) -> Any:
    return reals(value, (-1,), name) if np.ndim(value) else value
