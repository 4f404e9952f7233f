"""ASE's databases and trajectories, and structures in every format that has no reader here, read by ASE."""

import re
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import numpy as np
from ase import Atoms

from esen.data.atoms import from_atoms
from esen.data.readers.by_ase_checks import check_text, refuse_cif_disorder, refuse_types
from esen.data.readers.frame import RawFrame, refusing
from esen.data.readers.opening import decompressed, unpacked
from esen.data.structure import Structure
from esen.errors import InputError
from esen.text import encoding_of

Image = tuple[Atoms, dict[str, Any], float]
"""Atoms, their labels by ASE's names, and the fraction of the file that has been read."""

_VALUES = ("energy", "free_energy", "stress")
_ARRAYS = ("forces", "magmoms", "charges")
_LAMMPS_DATA = (re.compile(r"^[ \t]*\d+[ \t]+atoms\b", re.MULTILINE), re.compile(r"\sxlo[ \t]+xhi\b"))


def traj_frames(path: Path) -> Iterator[RawFrame]:
    """Iterate over the frames of an ASE trajectory."""
    return _raw_frames(path, _traj_images(path))


def db_frames(path: Path) -> Iterator[RawFrame]:
    """Iterate over the rows of an SQLite database of ASE, in the order of their ids."""
    return _raw_frames(path, _db_images(path))


def other_frames(path: Path) -> Iterator[RawFrame]:
    """Iterate over the structures of a file in any format that ASE reads, without labels.

    Raises:
        InputError: the file does not say which elements its atoms are, or its sites are not fully occupied.
    """
    with refusing(lambda: f"{path}: ASE's reader failed"):
        try:
            yield from _raw_frames(path, _other_images(path))
        except KeyError as error:
            raise InputError(
                f"{path}: ASE's reader failed at {error.args[0]!s}; is it an element?"
            ) from error


def _raw_frames(path: Path, images: Iterator[Image]) -> Iterator[RawFrame]:
    """Convert ASE's images to frames. ASE's warnings, of labels and symmetry that are not used, are not shown.

    Raises:
        InputError: there are no images.
    """
    count = 0
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = next(images, None)
        if image is None:
            break
        atoms, results, done = image
        source = f"{path}, frame {count}"
        yield RawFrame(_structure(atoms, results, source), source, done=done)
        count += 1
    if not count:
        raise InputError(f"{path}: the file has no structures")


def _traj_images(path: Path) -> Iterator[Image]:
    from ase.io.trajectory import TrajectoryReader

    with path.open("rb") as file, TrajectoryReader(file) as images:
        for number, atoms in enumerate(images, start=1):
            yield atoms, atoms.calc.results if atoms.calc is not None else {}, number / len(images)


def _db_images(path: Path) -> Iterator[Image]:
    database = _read_only(path)
    total = max(database.count(), 1)
    for number, row in enumerate(database.select(), start=1):
        atoms = row.toatoms()
        atoms.info = {**row.data, **row.key_value_pairs}
        names = ("energy", "free_energy", "forces", "stress")
        yield atoms, {name: row[name] for name in names if name in row}, number / total


def _other_images(path: Path) -> Iterator[Image]:
    import ase.io

    with _in_utf8(path) as readable:
        kind = _kind(readable, path)
        check_text(readable, path, kind)
        options = {"store_tags": True} if kind == "cif" else {}
        images = ase.io.iread(readable, index=":", format=kind, do_not_split_by_at_sign=True, **options)
        start = _start(readable)
        for number, atoms in enumerate(images):
            if kind.startswith("lammps"):
                refuse_types(atoms, f"{path}, frame {number}", kind, start)
            if kind == "cif":
                refuse_cif_disorder(atoms, f"{path}, frame {number}")
            yield atoms, {}, 1.0


def _kind(readable: Path, path: Path) -> str:
    """Return ASE's name of the format. LAMMPS data have many suffixes, which ASE takes for other formats.

    Raises:
        InputError: ASE does not know the format.
    """
    from ase.io.formats import UnknownFileTypeError, filetype

    start = _start(readable)
    if all(part.search(start) for part in _LAMMPS_DATA):
        return "lammps-data"
    try:
        kind: str = filetype(str(readable))
    except UnknownFileTypeError as error:
        raise InputError(f"{path}: is in no format that ASE knows; give it as CIF or extended XYZ") from error
    return kind


def _start(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(1 << 16).decode(errors="replace")


@contextmanager
def _in_utf8(path: Path) -> Iterator[Path]:
    """Give a file that ASE can read: the file itself, or a copy in UTF-8 if it begins with a byte order mark."""
    with path.open("rb") as raw, decompressed(path, raw) as file:
        start = file.read(4)
        encoding = encoding_of(start)
        if encoding is None:
            yield path
            return
        text = (start + file.read()).decode(encoding)
    with TemporaryDirectory() as folder:
        copy = Path(folder) / unpacked(path)
        copy.write_text(text, encoding="utf-8")
        yield copy


def _read_only(path: Path) -> Any:
    """Open a database that ASE does not write to, not even to update its version."""
    from ase.db.sqlite import SQLite3Database

    class ReadOnly(SQLite3Database):  # type: ignore[misc]  # ASE has no types
        def _connect(self) -> Any:
            return sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=20)

    return ReadOnly(str(path), create_indices=False, use_lock_file=False, serial=True)


def _structure(atoms: Atoms, results: dict[str, Any], source: str) -> Structure:
    found = {name: value for name, value in results.items() if value is not None}
    structure = from_atoms(atoms, source)
    structure.info.update({name: found[name] for name in _VALUES if name in found})
    structure.arrays.update({name: np.asarray(found[name]) for name in _ARRAYS if name in found})
    return structure
