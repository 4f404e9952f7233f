"""Readers of crystals: structure files, phonopy's yaml with or without forces, folders of the MDR benchmark."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import phonopy
from jaxtyping import Int64
from phonopy import Phonopy

from esen.data.structure import Structure
from esen.errors import InputError, first_line
from esen.evaluate.phonons.crystal import (
    Crystal,
    Known,
    check_periodic,
    from_phonopy,
    quietly,
    right_handed,
    supercell_for,
    to_phonopy,
)
from esen.evaluate.phonons.protocol import PhononProtocol

PACKED = (".xz", ".bz2", ".gz")
_YAML_SUFFIXES = (".yaml", ".yml", *PACKED)
_INDEX = ("pbe.json", "pbe.csv")
_COLUMNS = {
    "max_frequency": "max_freq",
    "entropy": "entropy",
    "free_energy": "free_energy",
    "heat_capacity": "heat_capacity",
}


def is_phonopy_yaml(path: Path) -> bool:
    """Whether a path is that of a yaml, by its name.

    >>> is_phonopy_yaml(Path("mp-149.yaml.bz2")), is_phonopy_yaml(Path("si.cif"))
    (True, False)
    """
    suffixes = [suffix for suffix in path.suffixes if suffix not in PACKED]
    return bool(suffixes) and suffixes[-1] in (".yaml", ".yml")


def yaml_name(path: Path) -> str:
    """Return the name of a yaml without its suffixes, as the index of the MDR benchmark has it.

    >>> yaml_name(Path("mp-149.yaml.bz2")), yaml_name(Path("Sr.y2o3.yaml"))
    ('mp-149', 'Sr.y2o3')
    """
    suffixes = "".join(suffix for suffix in path.suffixes[-2:] if suffix.lower() in _YAML_SUFFIXES)
    return path.name.removesuffix(suffixes)


def crystal_of_structure(
    structure: Structure,
    name: str,
    supercell: Int64[np.ndarray, "3 3"] | None,
    shortest: float,
    symprec: float,
) -> Crystal:
    """Make the crystal of a structure file; the primitive cell is found by spglib.

    Args:
        structure: the unit cell.
        name: of the crystal.
        supercell: phonopy's matrix; None: the smallest that is at least `shortest` wide.
        shortest: least width of the supercell, in Å.
        symprec: distance in Å within which the primitive cell is found.

    Raises:
        InputError: the structure is not periodic in three directions, or phonopy cannot use it.
    """
    check_periodic(structure, "phonons need")
    structure = right_handed(structure)
    matrix = supercell_for(structure.cell, shortest) if supercell is None else supercell
    try:
        atoms = to_phonopy(structure)
        found = quietly(Phonopy, atoms, matrix, primitive_matrix="auto", symprec=symprec, log_level=0)
    except Exception as error:  # of spglib, by whatever name
        raise InputError(f"{structure.source}: phonopy cannot use it ({first_line(error)})") from error
    return Crystal(name, structure, matrix, np.array(found.primitive_matrix, dtype=np.float64))


def crystal_of_yaml(path: Path, protocol: PhononProtocol) -> Crystal:
    """Make the crystal of phonopy's yaml, compressed or not. Its force sets or force constants are the reference.

    Non-analytical corrections are not used.

    Raises:
        InputError: phonopy cannot read the file.
    """
    try:
        how: dict[str, Any] = {
            "is_nac": False,
            "produce_fc": False,
            "log_level": 0,
            "symprec": protocol.symprec,
        }
        found = quietly(phonopy.load, path, **how)
    except Exception as error:  # of yaml, phonopy, spglib
        raise InputError(f"{path}: phonopy cannot read it ({first_line(error)})") from error
    primitive = np.eye(3) if found.primitive_matrix is None else np.array(found.primitive_matrix)
    crystal = Crystal(
        name=yaml_name(path),
        unitcell=from_phonopy(found.unitcell, str(path)),
        supercell=np.array(found.supercell_matrix, dtype=np.int64),
        primitive=np.asarray(primitive, dtype=np.float64),
        masses=np.array(found.unitcell.masses, dtype=np.float64),
    )
    if found.force_constants is None and _has_forces(found):
        quietly(found.produce_force_constants, calculate_full_force_constants=False)
    if found.force_constants is None:
        return crystal
    quietly(found.symmetrize_force_constants, show_drift=False)
    return replace(crystal, reference=found)


def _has_forces(phonons: Phonopy) -> bool:
    data: dict[str, Any] = dict(phonons.dataset or {})
    return "forces" in data or all("forces" in one for one in data.get("first_atoms", [{}]))


def folder_crystals(folder: Path) -> tuple[list[Path], dict[str, Known]]:
    """Return the yaml files of a folder of the MDR benchmark, and the values of its index by name.

    Raises:
        InputError: the folder holds no yaml, or the index cannot be read.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and is_phonopy_yaml(path))
    if not files:
        raise InputError(f"{folder}: holds no phonopy yaml (NAME.yaml, .yaml.bz2, .yaml.xz)")
    for name in _INDEX:
        for path in (folder / name, folder.parent / name):
            if path.is_file():
                return files, read_index(path)
    return files, {}


def read_index(path: Path) -> dict[str, Known]:
    """Read `pbe.json` or `pbe.csv` of the MDR benchmark, which has one row per material, by `mp_id`.

    Raises:
        InputError: the file is not such a table.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = (
            list(csv.DictReader(text.splitlines())) if path.suffix == ".csv" else _json_rows(json.loads(text))
        )
        return {str(row["mp_id"]): _known(row) for row in rows}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not an index of the MDR benchmark, with mp_id, {', '.join(_COLUMNS.values())} ({error!r})"
        ) from error


def _json_rows(content: Any) -> Sequence[Mapping[str, Any]]:
    """Return the rows of any of pandas' layouts: records, index, columns, lists, `split` or `table`."""
    if isinstance(content, list):
        return content
    if "data" in content:
        rows: list[Any] = content["data"]
        if "columns" not in content:
            return rows
        named = zip(content["index"], rows, strict=True)
        return [{"mp_id": key, **dict(zip(content["columns"], row, strict=True))} for key, row in named]
    if all(isinstance(value, dict) and "entropy" in value for value in content.values()):
        return [{"mp_id": key, **value} for key, value in content.items()]
    columns: dict[str, Any] = {}
    for name, values in content.items():
        if isinstance(values, dict):
            columns.setdefault("mp_id", list(values))  # unless there is such a column, too
        columns[name] = list(values.values()) if isinstance(values, dict) else values
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _known(row: Mapping[str, Any]) -> Known:
    values = {name: row.get(column) for name, column in _COLUMNS.items()}
    return Known(**{name: None if value in (None, "") else float(value) for name, value in values.items()})
