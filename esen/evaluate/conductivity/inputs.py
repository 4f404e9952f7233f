"""Readers of materials: frames of the benchmark, structure files, phono3py's yaml with or without force sets."""

import ast
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from phono3py.file_IO import parse_FORCES_FC2, parse_FORCES_FC3
from phono3py.interface.phono3py_yaml import Phono3pyYamlData, load_phono3py_yaml
from phonopy.phonon.grid import length2mesh

from esen.data.structure import Structure
from esen.data.supercells import matrix_of
from esen.errors import InputError, first_line
from esen.evaluate.conductivity.material import ForceSets, Material, make_phono3py
from esen.evaluate.phonons.crystal import (
    MAX_ATOMS,
    check_periodic,
    check_size,
    from_phonopy,
    right_handed,
    supercell_for,
)
from esen.evaluate.phonons.inputs import PACKED, has_forces, is_phonopy_yaml, yaml_name
from esen.evaluate.phonons.yaml import check_parts, read_yaml

_NAMES = ("material_id", "mp_id")
_MESHES = ("q_point_mesh", "q_mesh")
_GROUPS = ("symm.no", "spg_num", "spg")
_NEED = "conductivity needs"


@dataclass(frozen=True, eq=False)
class Sizes:
    """Supercells and mesh of materials whose file has none.

    Attributes:
        fc2: supercell for second derivatives; None: at least `fc2_width` wide.
        fc3: supercell for third derivatives; None: at least `fc3_width` wide.
        fc2_width: least width of the supercell for second derivatives, in Å.
        fc3_width: the same for third derivatives.
        mesh: divisions of the Brillouin zone, or the length in Å from which phono3py computes them.
        max_atoms: largest number of atoms of a supercell that is not given.
    """

    fc2: Int64[np.ndarray, "3 3"] | None = None
    fc3: Int64[np.ndarray, "3 3"] | None = None
    fc2_width: float = 12.0
    fc3_width: float = 8.0
    mesh: tuple[int, int, int] | float = 50.0
    max_atoms: int = MAX_ATOMS

    @property
    def mesh_text(self) -> str:
        """The mesh in words."""
        return " × ".join(map(str, self.mesh)) if isinstance(self.mesh, tuple) else f"{self.mesh:g} Å"


def is_of_benchmark(structure: Structure) -> bool:
    """Whether a frame names a supercell, as those of phononDB-PBE-103 name both.

    One is enough, so that a frame which lacks the other is reported by `material_of_benchmark`.
    """
    return not {"fc2_supercell", "fc3_supercell"}.isdisjoint(structure.info)


def material_of_benchmark(structure: Structure) -> Material:
    """Make the material of a frame of the benchmark's extxyz, which names supercells and mesh.

    Raises:
        InputError: a key is missing or has a value that cannot be used.
    """
    _, name = _value(structure, *_NAMES)
    check_periodic(structure, _NEED)
    mesh = _numbers(structure, *_MESHES)
    if mesh.shape != (3,) or mesh.min() < 1:
        raise InputError(f"{structure.source}: the mesh is {mesh.tolist()}, expected three divisions")
    group = next((structure.info[key] for key in _GROUPS if key in structure.info), None)
    return Material(
        name=str(name),
        unitcell=structure,
        fc2_supercell=_matrix(structure, "fc2_supercell"),
        fc3_supercell=_matrix(structure, "fc3_supercell"),
        mesh=(int(mesh[0]), int(mesh[1]), int(mesh[2])),
        label=str(structure.info.get("name", "")),
        space_group=None if group is None else int(group),
        masses=structure.masses,
    )


def material_of_structure(structure: Structure, name: str, sizes: Sizes, symprec: float) -> Material:
    """Make the material of a structure file; the primitive cell is found by spglib.

    Raises:
        InputError: it is not periodic in three directions, or phono3py cannot use it.
    """
    check_periodic(structure, _NEED)
    structure = right_handed(structure)
    fc2 = supercell_for(structure.cell, sizes.fc2_width) if sizes.fc2 is None else sizes.fc2
    fc3 = supercell_for(structure.cell, sizes.fc3_width) if sizes.fc3 is None else sizes.fc3
    for given, matrix in ((sizes.fc2, fc2), (sizes.fc3, fc3)):
        if given is None:
            check_size(structure.source, len(structure), matrix, sizes.max_atoms)
    found = Material(name, structure, fc2, fc3, (1, 1, 1), label=name, masses=structure.masses)
    return _with_mesh(found, sizes, symprec)


def is_phono3py_yaml(path: Path) -> bool:
    """Whether a path is that of a yaml of phono3py, by its name: `phono3py_disp.yaml`, `phono3py_params.yaml.xz`.

    >>> is_phono3py_yaml(Path("phono3py_disp.yaml")), is_phono3py_yaml(Path("phonopy.yaml"))
    (True, False)
    """
    return is_phonopy_yaml(path) and "phono3py" in path.name


def phono3py_name(path: Path) -> str:
    """Return the name of a yaml, or of its folder if the file has the name that phono3py gives it.

    >>> phono3py_name(Path("MgO/phono3py_disp.yaml.xz")), phono3py_name(Path("phono3py-NaCl.yaml"))
    ('MgO', 'phono3py-NaCl')
    """
    name = yaml_name(path)
    return path.resolve().parent.name if name in ("phono3py_disp", "phono3py_params") else name


def material_of_yaml(path: Path, sizes: Sizes, symprec: float) -> Material:
    """Make the material of phono3py's yaml, compressed or not.

    Force sets in it, or in `FORCES_FC3` and `FORCES_FC2` in the same folder, are the reference. Nothing else is read.
    Other units are converted to eV and Å. Non-analytical corrections are not used.

    Raises:
        InputError: it cannot be read, its parts do not fit each other, or a supercell is too large.
    """
    data, units = read_yaml(path, load_phono3py_yaml)
    unitcell = units.cell(data.unitcell)
    third = np.array(data.supercell_matrix, dtype=np.int64)
    single = data.phonon_supercell_matrix is None
    second = third if single else np.array(data.phonon_supercell_matrix, dtype=np.int64)
    try:
        sets = [units.converted(one) for one in _datasets(data, path.parent)]
    except Exception as error:  # of phono3py's parsers
        raise InputError(f"{path}: phono3py cannot read its force sets ({first_line(error)})") from error
    listed = ((third, data.supercell, sets[0]), (second, data.phonon_supercell, sets[1]))
    for matrix, supercell, dataset in listed:
        parts = (None if supercell is None else units.cell(supercell), dataset)
        check_parts(path, unitcell, matrix, parts, sizes.max_atoms)
    forces = has_forces(sets[0]) and (single or has_forces(sets[1]))
    primitive = None if data.primitive_matrix is None else np.array(data.primitive_matrix, dtype=np.float64)
    material = Material(
        name=phono3py_name(path),
        unitcell=from_phonopy(unitcell, str(path)),
        fc2_supercell=second,
        fc3_supercell=third,
        mesh=(1, 1, 1),
        primitive=primitive,
        reference=ForceSets(*sets) if forces else None,
        masses=np.array(unitcell.masses, dtype=np.float64),
    )
    return _with_mesh(material, sizes, symprec)


def _datasets(data: Phono3pyYamlData, folder: Path) -> tuple[Any, Any]:
    """Return displacements for third and second derivatives, with the forces of files beside the yaml if it has none.

    A supercell of its own makes the second dataset; without it, second derivatives follow from the first.
    """
    third: Any = data.dataset
    second: Any = None if data.phonon_supercell_matrix is None else data.phonon_dataset
    if third is not None and not has_forces(third) and (path := _beside(folder, "FORCES_FC3")):
        parse_FORCES_FC3(third, path)
    if second is not None and not has_forces(second) and (path := _beside(folder, "FORCES_FC2")):
        parse_FORCES_FC2(second, path)
    return third, second


def _beside(folder: Path, name: str) -> Path | None:
    return next((path for end in ("", *PACKED) if (path := folder / f"{name}{end}").is_file()), None)


def _with_mesh(material: Material, sizes: Sizes, symprec: float) -> Material:
    if not isinstance(sizes.mesh, float | int):
        return replace(material, mesh=sizes.mesh)
    small = replace(
        material, fc2_supercell=np.eye(3, dtype=np.int64), fc3_supercell=np.eye(3, dtype=np.int64)
    )
    probe = make_phono3py(small, symprec, single=True)
    operations = probe.primitive_symmetry.pointgroup_operations
    x, y, z = (int(n) for n in length2mesh(float(sizes.mesh), probe.primitive.cell, operations))
    try:
        make_phono3py(replace(small, mesh=(x, y, z)), symprec, single=True)
    except InputError:
        # In a centred lattice operations mix the primitive vectors; a mesh of equal divisions has any symmetry.
        x = y = z = max(x, y, z)
    return replace(material, mesh=(x, y, z))


def _value(structure: Structure, *keys: str) -> tuple[str, Any]:
    """Return the first of these keys that the frame has, and its value."""
    for key in keys:
        if key in structure.info:
            return key, structure.info[key]
    raise InputError(f"{structure.source}: has no {' or '.join(keys)}, which frames of phononDB-PBE-103 have")


def _numbers(structure: Structure, *keys: str) -> Int64[np.ndarray, "*any"]:
    key, value = _value(structure, *keys)
    try:
        given = ast.literal_eval(value.removeprefix("_JSON").strip()) if isinstance(value, str) else value
        found = np.asarray(given, dtype=np.float64)
        if not (found == np.rint(found)).all():
            raise ValueError("not whole numbers")
    except (ValueError, SyntaxError, TypeError) as error:
        raise InputError(f"{structure.source}: {key} is {value!r}, expected whole numbers") from error
    return found.astype(np.int64)


def _matrix(structure: Structure, key: str) -> Int64[np.ndarray, "3 3"]:
    found = _numbers(structure, key)
    if found.size not in (3, 9):
        raise InputError(f"{structure.source}: {key} has {found.size} numbers, expected 3 or 9")
    matrix = matrix_of(found.ravel().tolist())
    if round(np.linalg.det(matrix)) == 0:
        raise InputError(f"{structure.source}: {key} is {matrix.tolist()}, which spans no volume")
    return matrix
