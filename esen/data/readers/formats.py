"""The formats by name, how a file shows which one it has, and which files a path names."""

import bz2
import glob
import gzip
import lzma
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esen.data.cache import is_esendata
from esen.data.readers.aselmdb import MAGIC, aselmdb_records, parse_aselmdb
from esen.data.readers.by_ase import db_records, outcar_records, traj_records, vasprun_records
from esen.data.readers.extxyz import extxyz_records, parse_extxyz
from esen.data.readers.extxyz_zip import zip_records
from esen.data.readers.frame import Frame, Record
from esen.data.readers.molecules_npz import npz_records
from esen.data.readers.mptrj_json import is_mptrj, mptrj_records
from esen.data.readers.opening import PACKINGS, unpacked
from esen.errors import InputError

ESENDATA = "esendata"
"""The memory-mapped training set, which is a folder and has no records."""

_START = 4096
_VASPRUN = re.compile(r"vasprun.*\.xml", re.IGNORECASE)
_OUTCAR = re.compile(r"(.*[._-])?outcar([._-].*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Format:
    """How files of a format are read.

    Attributes:
        records: finds the frames of a file.
        parse: understands one of them; may be done by another process.
    """

    records: Callable[[Path], Iterator[Record]]
    parse: Callable[[Record], Frame]


def _as_it_is(record: Record) -> Frame:
    frame: Frame = record.content
    return frame


def _vasp_records(path: Path) -> Iterator[Record]:
    return vasprun_records(path) if _begins(path).lstrip().startswith(b"<") else outcar_records(path)


FORMATS = {
    "extxyz": Format(extxyz_records, parse_extxyz),
    "extxyz_zip": Format(zip_records, parse_extxyz),
    "mptrj_json": Format(mptrj_records, _as_it_is),
    "aselmdb": Format(aselmdb_records, parse_aselmdb),
    "npz": Format(npz_records, _as_it_is),
    "vasp": Format(_vasp_records, _as_it_is),
    "ase_db": Format(db_records, _as_it_is),
    "ase_traj": Format(traj_records, _as_it_is),
}

_SUFFIXES = {
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
    ".zip": "extxyz_zip",
    ".json": "mptrj_json",
    ".aselmdb": "aselmdb",
    ".npz": "npz",
    ".db": "ase_db",
    ".traj": "ase_traj",
}
_UNPACKED = {"extxyz_zip", "aselmdb", "npz", "ase_db", "ase_traj"}  # not read through a decompression


def find_files(pattern: str, folder: Path, kind: str = "auto") -> list[tuple[Path, str]]:
    """The files that a path names, and their formats.

    They are the path itself, what lies in the folder at any depth, or what the pattern matches. A training set
    (`esendata`) counts as a file.

    Args:
        pattern: as the user gave it.
        folder: where it starts, if it is relative.
        kind: the format of all of them; `auto`: each its own.

    Raises:
        InputError: there is none, or a file does not show its format.
    """
    path = folder / Path(pattern).expanduser()
    if is_esendata(path):
        return [(path, _checked(path, ESENDATA, kind))]
    if path.is_dir():
        found = _of_folder(path, kind)
        if not found:
            named = "named *.xyz or *.extxyz (.gz, .bz2, .xz), nor one of another known format"
            raise InputError(
                f"{path}: the folder has no file {named if kind == 'auto' else f'of format {kind}'}"
            )
        return found
    if path.exists():
        return [(path, file_format(path) if kind == "auto" else kind)]
    found_paths = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207 absolute patterns
    sets = [(p, _checked(p, ESENDATA, kind)) for p in found_paths if is_esendata(p)]
    files = [p for p in found_paths if p.is_file() and not any(inside in p.parents for inside, _ in sets)]
    files = [p for p in files if len(files) == 1 or p.name != "metadata.npz"]
    if not files and not sets:
        raise InputError(f"{path}: no such file, folder or pattern")
    return sets + [(p, file_format(p) if kind == "auto" else kind) for p in files]


def file_format(path: Path) -> str:
    """The format of a file, by its name or, where that is unknown, by its beginning.

    Raises:
        InputError: neither tells.
    """
    kind = format_of_name(path)
    if kind is None or path.suffix in (".json", ".npz"):
        kind = format_of_content(path) or kind
    if kind is None:
        raise InputError(
            f"{path}: cannot tell its format from name or content; write format: one of {', '.join(FORMATS)}"
        )
    return kind


def _checked(path: Path, kind: str, asked: str) -> str:
    if asked not in ("auto", kind):
        raise InputError(f"{path}: is a training set of esen; write format: {kind}, not {asked}")
    return kind


def _of_folder(folder: Path, kind: str) -> list[tuple[Path, str]]:
    """What lies in a folder, at any depth. Where a `vasprun.xml` is, the `OUTCAR` beside it is the same calculation."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "metadata.npz")
    sets = sorted({path.parent for path in folder.rglob("manifest.json") if is_esendata(path.parent)})
    paths = [path for path in paths if not any(inside in path.parents for inside in sets)]
    found = [(path, name) for path in paths if (name := format_of_name(path)) is not None]
    found = [(path, name) for path, name in found if path.suffix != ".json" or format_of_content(path)]
    runs = {path.parent for path, _ in found if _VASPRUN.fullmatch(unpacked(path))}
    found = [(p, name) for p, name in found if not (p.parent in runs and _OUTCAR.fullmatch(unpacked(p)))]
    found = [(p, ESENDATA) for p in sets] + found
    return [(path, name) for path, name in found if kind in ("auto", name)]


def format_of_name(path: Path) -> str | None:
    """The format that the name of a file shows; None if it shows none."""
    name = unpacked(path)
    if _VASPRUN.fullmatch(name) or _OUTCAR.fullmatch(name):
        return "vasp"
    kind = _SUFFIXES.get(Path(name).suffix.lower())
    return None if kind in _UNPACKED and path.suffix in PACKINGS[1:] else kind


def format_of_content(path: Path) -> str | None:
    """The format that the first bytes of a file show; None if they show none."""
    start = _begins(path)
    if start.startswith(b"PK\x03\x04"):
        return _zip_content(path)
    for kind, found in (
        ("ase_db", start.startswith(b"SQLite format 3\x00")),
        ("ase_traj", start.startswith(b"- of Ulm")),
        ("aselmdb", start[16:20] == MAGIC),
    ):
        if found:
            return kind
    text = start.decode("utf-8", errors="replace").lstrip()
    if is_mptrj(text):
        return "mptrj_json"
    if (text.startswith("<?xml") and "<modeling>" in text) or text.startswith("vasp."):
        return "vasp"
    return "extxyz" if text.split("\n", 1)[0].strip().isdecimal() else None


def _zip_content(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return None
    if any(name.endswith((".xyz", ".extxyz")) for name in names):
        return "extxyz_zip"
    return "npz" if {"R.npy", "coords.npy"} & set(names) else None


def _begins(path: Path) -> bytes:
    """The first bytes of a file, decompressed; nothing where it cannot be read, which the reader will say better."""
    openers: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    try:
        with openers.get(path.suffix, Path.open)(path, "rb") as file:
            start: bytes = file.read(_START)
            return start
    except (OSError, EOFError, lzma.LZMAError):
        return b""
