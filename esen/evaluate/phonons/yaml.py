"""Phonopy's and phono3py's yaml: in which units it is, and whether its parts belong together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from phonopy.interface.calculator import calculator_info
from phonopy.interface.phonopy_yaml import load_yaml
from phonopy.physical_units import get_calculator_physical_units, get_physical_units
from phonopy.structure.atoms import PhonopyAtoms
from phonopy.structure.cells import get_supercell
from yaml import MarkedYAMLError

from esen.errors import InputError, first_line
from esen.evaluate.phonons.crystal import check_size, quietly

_CONSTANTS = get_physical_units()  # phonopy's, so that frequencies are those that phonopy finds
_UNITS = {
    "ev": 1.0,
    "ry": _CONSTANTS.Rydberg,
    "mry": _CONSTANTS.Rydberg / 1000,
    "hartree": _CONSTANTS.Hartree,
    "angstrom": 1.0,
    "au": _CONSTANTS.Bohr,
    "bohr": _CONSTANTS.Bohr,
}
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
        units = _units_of(content)
        content.pop("physical_unit", None)  # of which phonopy accepts its present spelling alone
        data = quietly(load, content)
        for key, found in (("unit_cell", data.unitcell), ("supercell_matrix", data.supercell_matrix)):
            if found is None:
                raise ValueError(f"it has no {key}")
        if data.unitcell.is_site_mixture:
            raise ValueError("its sites are mixtures of elements, of which no potential computes forces")
        if not (np.isfinite(data.unitcell.masses) & (data.unitcell.masses > 0)).all():
            raise ValueError("its masses are not all above 0")
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 0
        raise InputError(f"{path}: line {line} is not yaml ({error.problem})") from error
    except Exception as error:  # of phonopy, and decompression
        raise InputError(f"{path}: phonopy cannot read it ({first_line(error)})") from error
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
        if key in ("forces", "displacements") and part.shape[-2:] != (atoms, 3):
            raise InputError(
                f"{path}: has {key} of {part.shape[-2]} atoms; its unit_cell and supercell_matrix have {atoms}"
            )


def _units_of(content: Mapping[str, Any]) -> Units:
    """Return the units that a calculator is known to have, or those that the yaml names.

    Raises:
        ValueError: they are unknown, or contradict each other.
    """
    headers = [content[name] for name in ("phonopy", "phono3py") if isinstance(content.get(name), dict)]
    header = headers[0] if headers else {}
    calculator = header.get("calculator")
    if calculator is not None and calculator not in calculator_info:
        raise ValueError(f"its calculator {calculator!r} has units that phonopy does not know")
    usual = get_calculator_physical_units(calculator)
    known = {
        "length": usual.length_unit,
        "force": usual.force_unit,
        "force_constants": usual.force_constants_unit,
    }
    block = dict(content.get("physical_unit") or {})
    if str(block.pop("atomic_mass", "AMU")).lower() not in ("amu", "u", "da"):
        raise ValueError("its physical_unit has atomic masses in other units than AMU")
    named = {key: str(text) for key, text in block.items() if key in known}
    if calculator is not None:
        for key, text in named.items():
            if not np.isclose(_value(text), _value(known[key])):
                raise ValueError(
                    f"its physical_unit has {key} in {text}, its calculator {calculator} in {known[key]}"
                )
        named = known
    if not named:
        _refuse_other_factor(header)
        return Units()
    length = _value(named.get("length", known["length"]))
    of_forces = {"force", "force_constants"} & named.keys()
    if (length != 1.0 and not of_forces) or (of_forces and "length" not in named):
        raise ValueError(f"its physical_unit is {block}; expected length, and force or force_constants")
    constants = named.get("force_constants")
    force = _value(named.get("force", known["force"])) if constants is None else _value(constants) * length
    if "force" in named and not np.isclose(force, _value(named["force"])):
        raise ValueError(
            f"its physical_unit has forces in {named['force']}, and force constants in {constants}"
        )
    return Units(length, force)


def _refuse_other_factor(header: Mapping[str, Any]) -> None:
    """Refuse a yaml without units whose factor of frequencies is that of other units than eV and Å."""
    factor = float(header.get("frequency_unit_conversion_factor") or _CONSTANTS.DefaultToTHz)
    for name in calculator_info:
        other = get_calculator_physical_units(name)
        if other.force_constants_unit != "eV/angstrom^2" and np.isclose(factor, other.factor, rtol=1e-4):
            raise ValueError(
                f"its frequency_unit_conversion_factor {factor:g} is that of {other.force_constants_unit}, and it names"
                f" no units; add calculator: {name}"
            )


def _value(text: str) -> float:
    """Return a unit such as `Ry/au^2` or `eV/angstrom.au` in eV and Å."""
    above, _, below = text.strip().lower().partition("/")
    try:
        value = _UNITS[above]
        for part in below.split(".") if below else ():
            name, _, power = part.partition("^")
            value /= _UNITS[name] ** int(power or 1)
    except (KeyError, ValueError):
        raise ValueError(f"its unit {text!r} is unknown; expected one such as angstrom or Ry/au^2") from None
    return value
