"""The formats by name, how a file shows its format, and the files that a path names."""

import glob
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from esen.data.readers.aselmdb import aselmdb_frames
from esen.data.readers.by_ase import db_frames, traj_frames
from esen.data.readers.extxyz import SUFFIXES, extxyz_frames, zip_frames
from esen.data.readers.frame import RawFrame, refusing_frames
from esen.data.readers.lmdb_file import MAGIC
from esen.data.readers.molecules_npz import npz_frames
from esen.data.readers.mptrj_json import is_mptrj, mptrj_frames
from esen.data.readers.opening import PACKINGS, decompressed, unpacked
from esen.data.readers.vasp import vasp_frames
from esen.data.training_set import is_esendata
from esen.errors import InputError
from esen.text import encoding_of

ESENDATA = "esendata"
"""The memory-mapped training set: a folder, without a reader of raw frames."""

_START = 4096
_HDF5 = b"\x89HDF\r\n"
_VASPRUN = re.compile(r"vasprun.*\.xml", re.IGNORECASE)
_OUTCAR = re.compile(r"(.*[._-])?outcar([._-].*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Format:
    """How files of a format are read and recognised.

    Attributes:
        find: iterates over the frames of a file, with errors of any kind.
        suffixes: suffixes of the file name.
        packed: whether files may be compressed as a whole.
    """

    find: Callable[[Path], Iterator[RawFrame]]
    suffixes: tuple[str, ...] = ()
    packed: bool = False

    def frames(self, path: Path) -> Iterator[RawFrame]:
        """Iterate over the frames of a file.

        Raises:
            InputError: the file cannot be read; the message names file and frame.
        """
        return refusing_frames(self.find, path)


FORMATS = {
    "extxyz": Format(extxyz_frames, SUFFIXES, packed=True),
    "extxyz_zip": Format(zip_frames, (".zip",)),
    "mptrj_json": Format(mptrj_frames, (".json",), packed=True),
    "aselmdb": Format(aselmdb_frames, (".aselmdb",)),
    "npz": Format(npz_frames, (".npz",)),
    "vasp": Format(vasp_frames, packed=True),
    "ase_db": Format(db_frames, (".db",)),
    "ase_traj": Format(traj_frames, (".traj",)),
}


def find_files(pattern: str, folder: Path, kind: str = "auto") -> list[tuple[Path, str]]:
    """Return the files that a path names, with their formats.

    These are the path itself, the files in the folder at any depth, or those that match the pattern. A training set
    (`esendata`) counts as a file.

    Args:
        pattern: file, folder or glob pattern.
        folder: start of a relative pattern.
        kind: format of all files; `auto`: each shows its own.

    Raises:
        InputError: there are no files, or a file does not show its format.
    """
    if not pattern:
        raise InputError("the path of the data is empty; give a file, a folder or a pattern")
    path = folder / Path(pattern).expanduser()
    if path.is_dir() and not is_esendata(path):
        found = _files_in(path, kind)
        if not found:
            named = "named *.xyz or *.extxyz (.gz, .bz2, .xz), nor one of another known format"
            raise InputError(
                f"{path}: the folder has no file {named if kind == 'auto' else f'of format {kind}'}"
            )
        return found
    # A name that exists may contain characters of a pattern.
    named_paths = [path] if path.exists() else sorted(map(Path, glob.glob(str(path), recursive=True)))  # noqa: PTH207  absolute patterns
    sets = [p for p in named_paths if is_esendata(p)]
    if sets and kind not in ("auto", ESENDATA):
        raise InputError(f"{sets[0]}: is a training set of esen; write format: {ESENDATA}, not {kind}")
    files = _outside(sets, [p for p in named_paths if p.exists() and not p.is_dir()])
    files = [p for p in files if len(files) == 1 or p.name != "metadata.npz"]
    if not files and not sets:
        raise InputError(f"{path}: no such file, folder or pattern")
    for file in files:
        refuse_streams(file)
    return [(p, ESENDATA) for p in sets] + [(p, file_format(p) if kind == "auto" else kind) for p in files]


def refuse_streams(path: Path) -> None:
    """Refuse pipes and devices, which cannot be read twice and may have no end.

    Raises:
        InputError: the path exists and is neither a file nor a folder.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InputError(f"{path}: is a pipe or a device; write its content to a file first")


def file_format(path: Path) -> str:
    """Return the format of a file by its name, or else by its first bytes.

    Raises:
        InputError: neither shows the format.
    """
    kind = format_of_name(path)
    if kind is None or path.suffix in (".json", ".npz"):
        kind = format_of_content(path) or kind
    if kind is None and _beginning(path).startswith(_HDF5):
        raise InputError(
            f"{path}: is HDF5, which is not read; give vasprun.xml or OUTCAR of VASP, or extended XYZ"
        )
    if kind is None:
        raise InputError(
            f"{path}: cannot tell its format from name or content; write format: one of {', '.join(FORMATS)}"
        )
    return kind


def _files_in(folder: Path, kind: str) -> list[tuple[Path, str]]:
    """Return the files of known formats in a folder, at any depth.

    An `OUTCAR` beside a `vasprun.xml` is left out, because it is of the same calculation.
    """
    sets = sorted({path.parent for path in folder.rglob("manifest.json") if is_esendata(path.parent)})
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "metadata.npz")
    found = [(path, name) for path in _outside(sets, paths) if (name := format_of_name(path)) is not None]
    found = [(path, name) for path, name in found if path.suffix != ".json" or format_of_content(path)]
    runs = {path.parent for path, _ in found if _VASPRUN.fullmatch(unpacked(path))}
    found = [(p, name) for p, name in found if not (p.parent in runs and _OUTCAR.fullmatch(unpacked(p)))]
    found = [(p, ESENDATA) for p in sets] + found
    return [(path, name) for path, name in found if kind in ("auto", name)]


def _outside(sets: list[Path], paths: list[Path]) -> list[Path]:
    """Return the paths that are not within a training set."""
    return [path for path in paths if not any(inside in path.parents for inside in sets)]


def format_of_name(path: Path) -> str | None:
    """Return the format that the name of a file shows; None if it shows none."""
    name = unpacked(path)
    if _VASPRUN.fullmatch(name) or _OUTCAR.fullmatch(name):
        return "vasp"
    suffix, packed = Path(name).suffix.lower(), path.suffix in PACKINGS[1:]
    kinds = (k for k, f in FORMATS.items() if suffix in f.suffixes and (f.packed or not packed))
    return next(kinds, None)


def format_of_content(path: Path) -> str | None:
    """Return the format that the first bytes of a file show; None if they show none."""
    start = _beginning(path)
    if start.startswith(b"PK\x03\x04"):
        return _format_of_zip(path)
    for kind, found in (
        ("ase_db", start.startswith(b"SQLite format 3\x00")),
        ("ase_traj", start.startswith(b"- of Ulm")),
        ("aselmdb", start[16:20] == MAGIC),
    ):
        if found:
            return kind
    text = start.decode(encoding_of(start) or "utf-8", errors="replace").lstrip()
    if is_mptrj(text):
        return "mptrj_json"
    if (text.startswith("<?xml") and "<modeling>" in text) or text.startswith("vasp."):
        return "vasp"
    return "extxyz" if text.split("\n", 1)[0].strip().isdecimal() else None


def _format_of_zip(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return None
    if any(name.endswith(SUFFIXES) for name in names):
        return "extxyz_zip"
    return "npz" if {"R.npy", "coords.npy"} & set(names) else None


def _beginning(path: Path) -> bytes:
    """Return the first bytes of a file, decompressed; none if it cannot be read, which its reader reports better."""
    try:
        with path.open("rb") as raw:
            start: bytes = decompressed(path, raw).read(_START)
            return start
    except (OSError, EOFError, lzma.LZMAError, zlib.error):
        return b""
