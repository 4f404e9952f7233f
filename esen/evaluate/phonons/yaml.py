"""Phonopy's and phono3py's yaml: in which units it is, and whether its parts belong together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from phonopy.interface.calculator import calculator_info
from phonopy.interface.phonopy_yaml import load_yaml
from phonopy.physical_units import get_calculator_physical_units
from phonopy.structure.atoms import PhonopyAtoms
from phonopy.structure.cells import get_supercell
from yaml import MarkedYAMLError

from esen.errors import InputError
from esen.evaluate.phonons.crystal import check_size, quietly

_DEFAULT = get_calculator_physical_units()
"""Its factor of frequencies stands in each yaml of phono3py, whatever its units."""
_SAME = 0.01
"""Å; atoms of two supercells that are farther apart are different."""


@dataclass(frozen=True)
class Units:
    """Units of a yaml. That of force constants is force / length.

    Attributes:
        length: in Å.
        force: in eV/Å.
    """

    length: float = 1.0
    force: float = 1.0

    def converted(self, value: Any, key: str = "") -> Any:
        """Return a dataset with displacements and distances in Å and forces in eV/Å.

        Args:
            value: the dataset or a part of it.
            key: name of the part.
        """
        if isinstance(value, Mapping):
            return {name: self.converted(part, name) for name, part in value.items()}
        if isinstance(value, list) and key != "duplicates":
            return [self.converted(part) for part in value]
        if key in ("displacement", "displacements", "pair_distance", "cutoff_distance"):
            return value * self.length
        return value * self.force if key == "forces" else value

    def cell(self, atoms: PhonopyAtoms) -> PhonopyAtoms:
        """Return atoms with a cell in Å; positions are kept as multiples of its vectors."""
        found = atoms.copy()
        found.cell = atoms.cell * self.length
        return found


def read_yaml(path: Path, load: Callable[[dict[str, Any]], Any]) -> tuple[Any, Units]:
    """Read a yaml of phonopy or phono3py, compressed or not.

    Args:
        path: of the file.
        load: makes phonopy's or phono3py's data of its content.

    Returns:
        The data as they are in the file, and their units.

    Raises:
        InputError: it cannot be read, has no crystal, or is in units that are unknown or contradict each other.
    """
    try:
        content = quietly(load_yaml, path)
        if not isinstance(content, dict):
            raise ValueError("it has no keys")
        data = quietly(load, content)
        units = _units_of(content, data.calculator)
        for key, found in (("unit_cell", data.unitcell), ("supercell_matrix", data.supercell_matrix)):
            if found is None:
                raise ValueError(f"it has no {key}")
        _check_primitive(data.unitcell, data.primitive_matrix)
        if data.unitcell.is_site_mixture:
            raise ValueError("its sites are mixtures of elements, of which no potential computes forces")
        if not (np.isfinite(data.unitcell.masses) & (data.unitcell.masses > 0)).all():
            raise ValueError("its masses are not all above 0")
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 0
        raise InputError(f"{path}: line {line} is not yaml ({error.problem})") from error
    except Exception as error:  # of phonopy, and decompression
        raise InputError(f"{path}: phonopy cannot read it ({' '.join(str(error).split())})") from error
    return data, units


def check_parts(
    path: Path,
    unitcell: PhonopyAtoms,
    matrix: Int64[np.ndarray, "3 3"],
    parts: tuple[PhonopyAtoms | None, Any],
    max_atoms: int,
) -> None:
    """Check that supercell and dataset of a yaml belong to its unit cell.

    Args:
        path: of the file.
        unitcell: in Å.
        matrix: phonopy's supercell matrix.
        parts: the supercell that the file lists in Å, and the displacements with or without forces; None: none.
        max_atoms: largest number of atoms that a supercell may have.

    Raises:
        InputError: they do not, or the supercell is too large.
    """
    if matrix.shape != (3, 3) or round(np.linalg.det(matrix)) < 1:
        raise InputError(f"{path}: its supercell_matrix {matrix.tolist()} spans no right-handed volume")
    check_size(str(path), len(unitcell), matrix, max_atoms)
    count = len(unitcell) * round(np.linalg.det(matrix))
    listed, dataset = parts
    if listed is not None:
        expected = quietly(get_supercell, unitcell, matrix)
        if len(listed) != count or not _same_atoms(listed, expected):
            raise InputError(
                f"{path}: the supercell that it lists, of {len(listed)} atoms, is not that of its unit_cell and"
                f" supercell_matrix, of {count} atoms"
            )
    _check_dataset(path, dataset, count)


def _same_atoms(one: PhonopyAtoms, two: PhonopyAtoms) -> bool:
    """Whether two supercells have the same vectors, and the same atoms in the same order."""
    apart = one.scaled_positions - two.scaled_positions
    distances = np.linalg.norm((apart - np.rint(apart)) @ two.cell, axis=1)
    same_cell = np.abs(one.cell - two.cell).max() < _SAME
    return bool(same_cell and distances.max() < _SAME and (one.numbers == two.numbers).all())


def _check_dataset(path: Path, value: Any, atoms: int) -> None:
    """Check numbers of atoms, shapes and values of a dataset, wherever they are in it."""
    for part in value if isinstance(value, list) else ():
        _check_dataset(path, part, atoms)
    for key, part in value.items() if isinstance(value, Mapping) else ():
        if key in ("first_atoms", "second_atoms"):
            _check_dataset(path, part, atoms)
        if key == "number" and not 0 <= part < atoms:
            raise InputError(f"{path}: displaces atom {part + 1} of a supercell of {atoms} atoms")
        if key in ("forces", "displacements", "displacement") and not np.isfinite(part).all():
            raise InputError(f"{path}: its {key} are not finite")
        if key == "displacement" and not np.any(part):
            raise InputError(
                f"{path}: a displacement of its data is zero, which no force constant follows from"
            )
        if key in ("forces", "displacements") and part.shape[-2:] != (atoms, 3):
            raise InputError(
                f"{path}: has {key} of {part.shape[-2]} atoms; its unit_cell and supercell_matrix have {atoms}"
            )


def _check_primitive(unitcell: PhonopyAtoms, matrix: Any) -> None:
    """Check that a primitive cell holds a whole number of atoms; phonopy takes cells of half an atom.

    Raises:
        ValueError: it does not.
    """
    count = len(unitcell) * (1.0 if matrix is None else float(np.linalg.det(matrix)))
    if count < 0.5 or abs(count - round(count)) > 0.01:
        raise ValueError(f"its primitive_matrix spans {count:.3g} atoms, expected a whole number above 0")


def _units_of(content: Mapping[str, Any], calculator: str | None) -> Units:
    """Return the units of a calculator; phonopy has refused a `physical_unit` that disagrees with them.

    Raises:
        ValueError: the factor of frequencies is that of other units.
    """
    header = content.get("phonopy") or content.get("phono3py") or {}
    own = get_calculator_physical_units(calculator)
    factor = float(header.get("frequency_unit_conversion_factor") or own.factor)
    units = Units(own.distance_to_A, own.force_to_eVperA)
    if np.isclose(factor, _DEFAULT.factor, rtol=1e-4):
        return units
    for name in calculator_info:
        other = get_calculator_physical_units(name)
        differs = other.force_constants_unit != own.force_constants_unit
        if differs and np.isclose(factor, other.factor, rtol=1e-4):
            named = "no calculator" if calculator is None else f"the calculator {calculator}"
            raise ValueError(
                f"its frequency_unit_conversion_factor {factor:g} is that of {other.force_constants_unit}, and it names"
                f" {named}; write calculator: {name}"
            )
    return units
