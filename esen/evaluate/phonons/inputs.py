"""Readers of crystals: structure files, phonopy's yaml with or without forces, folders of the MDR benchmark."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from phonopy import Phonopy
from phonopy.harmonic.force_constants import full_fc_to_compact_fc
from phonopy.interface.phonopy_yaml import load_phonopy_yaml

from esen.data.structure import Structure
from esen.errors import InputError, first_line
from esen.evaluate.phonons.crystal import (
    MAX_ATOMS,
    Crystal,
    Known,
    check_bound,
    check_masses,
    check_periodic,
    check_size,
    from_phonopy,
    quietly,
    right_handed,
    supercell_for,
    to_phonopy,
)
from esen.evaluate.phonons.protocol import PhononProtocol
from esen.evaluate.phonons.yaml import check_parts, read_yaml
from esen.files import parse_json

PACKED = (".xz", ".bz2", ".gz")
_YAML_SUFFIXES = (".yaml", ".yml", *PACKED)
_UNEXPLAINED = 0.3
"""Share of the forces of random displacements, or of force constants, beyond which they are not harmonic."""
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
    supercell: Int64[np.ndarray, "3 3"] | float,
    symprec: float,
    max_atoms: int = MAX_ATOMS,
) -> Crystal:
    """Make the crystal of a structure file; the primitive cell is found by spglib.

    Args:
        structure: the unit cell.
        name: of the crystal.
        supercell: phonopy's matrix, or the least width in Å of the smallest supercell.
        symprec: distance in Å within which the primitive cell is found.
        max_atoms: largest number of atoms of a supercell that is not given.

    Raises:
        InputError: the structure is not periodic in three directions, phonopy cannot use it, or its supercell is too
            large.
    """
    check_periodic(structure, "phonons need")
    structure = right_handed(structure)
    matrix = supercell
    if isinstance(matrix, float):
        matrix = supercell_for(structure.cell, matrix)
        check_size(structure.source, len(structure), matrix, max_atoms)
    atoms = to_phonopy(structure, structure.masses)
    check_masses(structure.source, atoms, symprec)
    try:
        found = quietly(Phonopy, atoms, matrix, primitive_matrix="auto", symprec=symprec, log_level=0)
    except Exception as error:  # of spglib, by whatever name
        raise InputError(f"{structure.source}: phonopy cannot use it ({first_line(error)})") from error
    primitive = np.array(found.primitive_matrix, dtype=np.float64)
    return Crystal(name, structure, matrix, primitive, masses=structure.masses)


def crystal_of_yaml(path: Path, protocol: PhononProtocol, max_atoms: int = MAX_ATOMS) -> Crystal:
    """Make the crystal of phonopy's yaml, compressed or not. Its force sets or force constants are the reference.

    Other units are converted to eV and Å. No other file is read. Non-analytical corrections are not used.

    Raises:
        InputError: phonopy cannot read the file, its parts do not fit each other, or its supercell is too large.
    """
    found = phonopy_of_yaml(path, protocol.symprec, max_atoms)
    crystal = Crystal(
        name=yaml_name(path),
        unitcell=from_phonopy(found.unitcell, str(path)),
        supercell=np.array(found.supercell_matrix, dtype=np.int64),
        primitive=np.asarray(found.primitive_matrix, dtype=np.float64),
        masses=np.array(found.unitcell.masses, dtype=np.float64),
    )
    if found.force_constants is None:
        return crystal
    quietly(found.symmetrize_force_constants, show_drift=False)
    return replace(crystal, reference=found)


def phonopy_of_yaml(path: Path, symprec: float, max_atoms: int = MAX_ATOMS) -> Phonopy:
    """Make phonopy of a yaml in eV and Å, with its force constants or those of its force sets, if it has any.

    Force sets with random displacements of all atoms are fitted by symfc.

    Raises:
        InputError: as `crystal_of_yaml`.
    """
    data, units = read_yaml(path, load_phonopy_yaml)
    unitcell = units.cell(data.unitcell)
    matrix, dataset = np.array(data.supercell_matrix), units.converted(data.dataset)
    listed = None if data.supercell is None else units.cell(data.supercell)
    check_parts(path, unitcell, matrix, (listed, dataset), max_atoms)
    check_masses(str(path), unitcell, symprec)
    primitive: Any = "auto" if data.primitive_matrix is None else data.primitive_matrix
    try:
        found = quietly(Phonopy, unitcell, matrix, primitive_matrix=primitive, symprec=symprec, log_level=0)
        if data.force_constants is not None:
            found.force_constants = _compact(found, data.force_constants * (units.force / units.length))
        elif has_forces(dataset):
            found.dataset = dataset
            solver: Any = "symfc" if "displacements" in dataset else None
            quietly(found.produce_force_constants, calculate_full_force_constants=False, fc_calculator=solver)
            if solver is not None:
                _check_fit(found, dataset)
            _check_exchange(found)
    except Exception as error:  # of spglib, phonopy and symfc
        cure = "; pip install symfc" if isinstance(error, ImportError) else ""
        raise InputError(f"{path}: phonopy cannot use it ({first_line(error)}{cure})") from error
    check_bound(str(path), found.force_constants)
    return found


def _check_fit(phonons: Phonopy, dataset: Any) -> None:
    """Check that random displacements determine the force constants, and that these explain the forces.

    Raises:
        ValueError: they do not; symfc does not say so.
    """
    from symfc import Symfc

    basis: Any = Symfc(phonons.supercell).compute_basis_set(2).basis_set[2]
    unknown, (count, atoms, _) = basis.basis_set.shape[1], dataset["forces"].shape
    if count * 3 * (atoms - 1) < unknown:
        raise ValueError(
            f"its {count} random displacements do not determine {unknown} independent force constants; at least"
            f" {-(-unknown // (3 * (atoms - 1)))} are needed"
        )
    rows, own = np.array(phonons.force_constants), dataset["forces"][:, phonons.primitive.p2s_map]
    left = own + np.einsum("ijab,njb->nia", rows, dataset["displacements"])
    share = np.linalg.norm(left) / np.linalg.norm(own)
    if share > _UNEXPLAINED:
        raise ValueError(
            f"harmonic force constants leave {share:.0%} of its forces; subtract those of the undisplaced supercell, or"
            " displace atoms less"
        )


def _check_exchange(phonons: Phonopy) -> None:
    """Check that force constants are about the same when two atoms are exchanged, as second derivatives are.

    Raises:
        ValueError: they are not.
    """
    own: np.ndarray = np.array(phonons.force_constants)[:, phonons.primitive.p2s_map]
    share = np.linalg.norm(own - own.transpose(1, 0, 3, 2)) / (np.linalg.norm(own) or 1.0)
    if share > _UNEXPLAINED:
        raise ValueError(
            f"its force constants change by {share:.0%} when atoms are exchanged; a displacement is missing, or forces"
            " of the undisplaced supercell are in its forces"
        )


def _compact(phonons: Phonopy, constants: np.ndarray) -> np.ndarray:
    """Return the rows of the force constants that belong to atoms of the primitive cell."""
    whole = constants.shape[0] == constants.shape[1]
    return full_fc_to_compact_fc(phonons.primitive, constants) if whole else constants


def has_forces(dataset: Any) -> bool:
    """Whether all displacements of a dataset of phonopy or phono3py have forces."""
    if not dataset:
        return False
    if "first_atoms" not in dataset:
        return "forces" in dataset
    first = dataset["first_atoms"]
    every = first + [two for one in first for two in one.get("second_atoms", [])]
    return bool(first) and all("forces" in one for one in every)


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
            list(csv.DictReader(text.splitlines())) if path.suffix == ".csv" else _json_rows(parse_json(text))
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
