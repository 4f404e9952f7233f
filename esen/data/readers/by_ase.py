"""VASP's `vasprun.xml` and `OUTCAR`, ASE's databases and trajectories, all read by ASE. Units and signs are ASE's."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from ase import Atoms

from esen.data.readers.frame import Frame, Record
from esen.errors import InputError


def vasprun_records(path: Path) -> Iterator[Record]:
    """Every ionic step of a `vasprun.xml`; as `_vasp`."""
    return _vasp(path, "vasp-xml")


def outcar_records(path: Path) -> Iterator[Record]:
    """Every ionic step of an `OUTCAR`; as `_vasp`."""
    return _vasp(path, "vasp-out")


def _vasp(path: Path, kind: str) -> Iterator[Record]:
    """Every ionic step.

    `energy` is the free energy (TOTEN), of which forces and stress are the derivatives; the energy extrapolated to
    zero smearing is there as `energy_zero`.

    Raises:
        InputError: it cannot be read, or has no complete ionic step.
    """
    from ase.io import iread

    count = 0
    try:
        for atoms in iread(str(path), index=":", format=kind):
            results = dict(atoms.calc.results) if atoms.calc is not None else {}
            if "free_energy" in results:
                results["energy_zero"] = results.get("energy")
                results["energy"] = results.pop("free_energy")
            source = f"{path}, frame {count}"
            yield Record(_frame(atoms, results, source), source)
            count += 1
    except InputError:
        raise
    except Exception as error:  # ASE lets through whatever its parsing meets
        raise _unreadable(path, count, error) from error
    if not count:
        raise InputError(f"{path}: has no complete ionic step")


def traj_records(path: Path) -> Iterator[Record]:
    """Every frame of an ASE trajectory.

    Raises:
        InputError: it cannot be read.
    """
    from ase.io.trajectory import TrajectoryReader

    count = 0
    try:
        with TrajectoryReader(path) as frames:
            for atoms in frames:
                results = atoms.calc.results if atoms.calc is not None else {}
                source = f"{path}, frame {count}"
                yield Record(_frame(atoms, results, source), source, done=(count + 1) / len(frames))
                count += 1
    except InputError:
        raise
    except Exception as error:  # the same
        raise _unreadable(path, count, error) from error


def db_records(path: Path) -> Iterator[Record]:
    """Every row of an SQLite database of ASE, by its number.

    Raises:
        InputError: it cannot be read.
    """
    count = 0
    try:
        database = _read_only(path)
        total = max(database.count(), 1)
        for row in database.select():
            atoms = row.toatoms()
            results = {
                name: row[name] for name in ("energy", "free_energy", "forces", "stress") if name in row
            }
            atoms.info = {**row.data, **row.key_value_pairs}
            source = f"{path}, frame {count}"
            yield Record(_frame(atoms, results, source), source, done=(count + 1) / total)
            count += 1
    except InputError:
        raise
    except Exception as error:  # the same
        raise _unreadable(path, count, error) from error
    if not count:
        raise InputError(f"{path}: the database has no rows")


def _read_only(path: Path) -> Any:
    """A database that is not written to, not even to bring it up to date."""
    from ase.db.sqlite import SQLite3Database

    class ReadOnly(SQLite3Database):  # type: ignore[misc]  # ASE has no types
        def _connect(self) -> Any:
            return sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=20)

    return ReadOnly(str(path), create_indices=False, use_lock_file=False, serial=True)


def _frame(atoms: Atoms, results: dict[str, Any], source: str) -> Frame:
    found = {name: value for name, value in results.items() if value is not None}
    others = {k: np.array(v) for k, v in atoms.arrays.items() if k not in ("numbers", "positions")}
    per_atom = {k: np.asarray(v) for k, v in found.items() if k in ("forces", "magmoms", "charges")}
    values = {k: v for k, v in found.items() if k in ("energy", "free_energy", "energy_zero", "stress")}
    return Frame(
        numbers=atoms.numbers.astype(np.int64),
        positions=np.asarray(atoms.positions, dtype=np.float64),
        cell=np.asarray(atoms.cell, dtype=np.float64),
        pbc=np.asarray(atoms.pbc, dtype=np.bool_),
        values={**atoms.info, **values},
        arrays={**others, **per_atom},
        source=source,
        converted=True,
    )


def _unreadable(path: Path, count: int, error: Exception) -> InputError:
    words = str(error).strip().splitlines()
    what = f"{type(error).__name__}: {words[0]}" if words else type(error).__name__
    where = f"{path}, frame {count}" if count else str(path)
    return InputError(f"{where}: cannot be read ({what})")
