"""VASP's `vasprun.xml` and `OUTCAR`, and ASE's databases and trajectories, read by ASE with its units and signs."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from ase import Atoms

from esen.data.atoms import from_atoms
from esen.data.readers.frame import RawFrame
from esen.data.structure import Structure
from esen.errors import InputError, typed_line

Image = tuple[Atoms, dict[str, Any], float]
"""Atoms, their labels by ASE's names, and the fraction of the file that has been read."""

_VALUES = ("energy", "free_energy", "energy_zero", "stress")
_ARRAYS = ("forces", "magmoms", "charges")


def vasprun_frames(path: Path) -> Iterator[RawFrame]:
    """Iterate over the ionic steps of a `vasprun.xml`; see `_vasp_images` for the energies."""
    return _raw_frames(path, _vasp_images(path, "vasp-xml"), "has no complete ionic step")


def outcar_frames(path: Path) -> Iterator[RawFrame]:
    """Iterate over the ionic steps of an `OUTCAR`; see `_vasp_images` for the energies."""
    return _raw_frames(path, _vasp_images(path, "vasp-out"), "has no complete ionic step")


def traj_frames(path: Path) -> Iterator[RawFrame]:
    """Iterate over the frames of an ASE trajectory."""
    return _raw_frames(path, _traj_images(path))


def db_frames(path: Path) -> Iterator[RawFrame]:
    """Iterate over the rows of an SQLite database of ASE, in the order of their ids."""
    return _raw_frames(path, _db_images(path), "the database has no rows")


def _raw_frames(path: Path, images: Iterator[Image], empty: str = "") -> Iterator[RawFrame]:
    """Convert ASE's images to frames.

    Raises:
        InputError: the file cannot be read; or it has no images, and `empty` says so.
    """
    count = 0
    try:
        for atoms, results, done in images:
            source = f"{path}, frame {count}"
            yield RawFrame(_structure(atoms, results, source), source, done=done)
            count += 1
    except Exception as error:  # ASE's readers raise many kinds of errors
        where = f"{path}, frame {count}" if count else str(path)
        raise InputError(f"{where}: cannot be read ({typed_line(error)})") from error
    if empty and not count:
        raise InputError(f"{path}: {empty}")


def _vasp_images(path: Path, kind: str) -> Iterator[Image]:
    """Iterate over ionic steps.

    `energy` is the free energy (TOTEN), whose derivatives are the forces and the stress. The energy extrapolated to
    zero smearing is kept as `energy_zero`.
    """
    from ase.io import iread

    for atoms in iread(str(path), index=":", format=kind):
        results = dict(atoms.calc.results) if atoms.calc is not None else {}
        if "free_energy" in results:
            results["energy_zero"] = results.get("energy")
            results["energy"] = results.pop("free_energy")
        yield atoms, results, 1.0


def _traj_images(path: Path) -> Iterator[Image]:
    from ase.io.trajectory import TrajectoryReader

    with TrajectoryReader(path) as images:
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
