"""A crystal whose phonons are computed, and its reference values."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ParamSpec, TypeVar

import numpy as np
import spglib
from jaxtyping import Float64, Int64
from phonopy import Phonopy
from phonopy.structure.atomic_data import get_atomic_data
from phonopy.structure.atoms import PhonopyAtoms
from phonopy.structure.symmetry import Symmetry

from esen.data.masses import standard_masses
from esen.data.structure import Structure
from esen.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")

MAX_ATOMS = 2000
"""Largest number of atoms of a supercell that the user has not asked for."""
_NO_FORCE = 1e-8
"""Force constants in eV/Å² below which atoms do not feel each other."""
_SAME_MASS = 1e-4
"""Relative difference below which two masses of equivalent atoms are one."""


@dataclass(frozen=True)
class Known:
    """Reference values per primitive cell, at 300 K; None: not known.

    Attributes:
        max_frequency: ω_max in K, by the convention of the MDR benchmark.
        entropy: S in J/K/mol.
        free_energy: F in kJ/mol.
        heat_capacity: C_V in J/K/mol.
    """

    max_frequency: float | None = None
    entropy: float | None = None
    free_energy: float | None = None
    heat_capacity: float | None = None


@dataclass(frozen=True, eq=False)
class Crystal:
    """A crystal with its supercell.

    Attributes:
        name: unique in a run.
        unitcell: the cell that the supercell is made of.
        supercell: its lattice vectors, as columns of multiples of those of the unit cell (phonopy's matrix).
        primitive: primitive lattice vectors in the same form.
        known: reference values.
        reference: phonopy with force constants of the reference method; None: there are none.
        masses: masses of the atoms of the unit cell, in u; None: those of the elements.
    """

    name: str
    unitcell: Structure
    supercell: Int64[np.ndarray, "3 3"]
    primitive: Float64[np.ndarray, "3 3"]
    known: Known = Known()
    reference: Phonopy | None = None
    masses: Float64[np.ndarray, " N"] | None = None


def right_handed(structure: Structure) -> Structure:
    """Return the same lattice and atoms in a right-handed basis, which phonopy requires."""
    return replace(structure, cell=-structure.cell) if np.linalg.det(structure.cell) < 0 else structure


def to_phonopy(structure: Structure, masses: Float64[np.ndarray, " N"] | None = None) -> PhonopyAtoms:
    """Convert to phonopy's atoms; without masses they have phonopy's of the elements, or ASE's where it has none."""
    if masses is None:
        table, usual = get_atomic_data().atom_data, standard_masses(structure.numbers)
        known = [table[number][3] for number in structure.numbers]
        masses = np.array([own or other for own, other in zip(known, usual, strict=True)])
    return PhonopyAtoms(
        numbers=structure.numbers, cell=structure.cell, positions=structure.positions, masses=masses
    )


def check_several_atoms(name: str, supercell: PhonopyAtoms) -> None:
    """Check that a supercell has several atoms: force constants of one atom and all its images vanish.

    Raises:
        InputError: it has one.
    """
    if len(supercell) == 1:
        raise InputError(
            f"{name}: its supercell has one atom, whose force constants vanish; give a larger one"
        )


def check_bound(name: str, constants: np.ndarray | None) -> None:
    """Check that some force constant is not zero: else no atom feels another, and no phonons were tested.

    Raises:
        InputError: all of them vanish.
    """
    if constants is not None and np.abs(constants).max() < _NO_FORCE:
        raise InputError(
            f"{name}: all force constants vanish, because no displacement changes a force; are the atoms within the"
            " cutoff of each other, and is the cell in Å?"
        )


def check_masses(source: str, atoms: PhonopyAtoms, symprec: float) -> None:
    """Check that atoms which symmetry makes equivalent have one mass, because phonopy finds symmetry without masses.

    Raises:
        InputError: they have not.
    """
    masses = atoms.masses
    if np.ptp(masses / standard_masses(atoms.numbers)) < _SAME_MASS:
        return
    for atom, other in enumerate(quietly(Symmetry, atoms, symprec=symprec).get_map_atoms()):
        if abs(masses[atom] / masses[other] - 1) > _SAME_MASS:
            raise InputError(
                f"{source}: atoms {other + 1} and {atom + 1} are equivalent by symmetry and have masses of"
                f" {masses[other]:g} and {masses[atom]:g}; phonopy finds symmetry without masses, so give them one mass"
            )


def from_phonopy(atoms: PhonopyAtoms, source: str) -> Structure:
    """Convert phonopy's atoms to a structure that is periodic in three directions."""
    return Structure(
        numbers=np.array(atoms.numbers, dtype=np.int64),
        positions=np.array(atoms.positions, dtype=np.float64),
        cell=np.array(atoms.cell, dtype=np.float64),
        pbc=np.ones(3, dtype=np.bool_),
        source=source,
    )


def make_phonopy(crystal: Crystal, symprec: float) -> Phonopy:
    """Make phonopy of a crystal, without forces."""
    return quietly(
        Phonopy,
        to_phonopy(crystal.unitcell, crystal.masses),
        supercell_matrix=crystal.supercell,
        primitive_matrix=crystal.primitive,
        symprec=symprec,
        log_level=0,
    )


def supercell_for(cell: Float64[np.ndarray, "3 3"], shortest: float) -> Int64[np.ndarray, "3 3"]:
    """Return the smallest multiples of the lattice vectors whose cell is at least `shortest` Å wide in all directions.

    The width is the distance of opposite faces, 1 / |column of the inverse|. A skewed basis is narrow whatever the
    lattice: where multiples of the Niggli-reduced vectors need less than half as many atoms, these are taken.
    """
    given = _multiples(cell, shortest)
    reduced = spglib.niggli_reduce(cell)
    if reduced is None:
        return given
    # Rows of whole multiples of the vectors of the cell.
    vectors = np.rint(reduced @ np.linalg.inv(cell)).astype(np.int64)
    found = vectors.T @ _multiples(vectors @ cell, shortest) * round(np.linalg.det(vectors))
    return found if 2 * round(np.linalg.det(found)) < round(np.linalg.det(given)) else given


def _multiples(cell: Float64[np.ndarray, "3 3"], shortest: float) -> Int64[np.ndarray, "3 3"]:
    counts: np.ndarray = np.maximum(1, np.ceil(shortest / widths_of(cell) - 1e-6))
    return np.diag(counts).astype(np.int64)


def check_size(source: str, atoms: int, matrix: Int64[np.ndarray, "3 3"], max_atoms: int) -> None:
    """Check that a supercell is not larger than the user expects.

    Args:
        source: of the crystal.
        atoms: number of atoms of the unit cell.
        matrix: phonopy's supercell matrix.
        max_atoms: largest number of atoms of the supercell.

    Raises:
        InputError: it is.
    """
    count = atoms * abs(round(float(np.linalg.det(matrix))))
    if count > max_atoms:
        raise InputError(
            f"{source}: a supercell of {count} atoms ({matrix.tolist()}) is larger than {max_atoms}; give a smaller one"
            f" or a smaller width, or --max-atoms {count}"
        )


def widths_of(cell: Float64[np.ndarray, "3 3"]) -> Float64[np.ndarray, " 3"]:
    """Return the distances between opposite faces, in Å."""
    return np.asarray(1 / np.linalg.norm(np.linalg.inv(cell), axis=0))


def narrow_supercell(
    cell: Float64[np.ndarray, "3 3"], reach: float, name: str = "the supercell"
) -> list[str]:
    """Return a remark if a supercell is narrower than twice the cutoff, else nothing.

    Args:
        cell: of the supercell.
        reach: twice the cutoff of the potential, in Å.
        name: of the supercell in the remark.
    """
    width = float(widths_of(cell).min())
    if width >= reach:
        return []
    return [
        f"{name} is {width:.2f} Å wide, less than twice the cutoff ({reach:g} Å): a displaced atom is felt together"
        " with its images"
    ]


def check_periodic(structure: Structure, property_name: str) -> None:
    """Check that a structure is periodic in three directions.

    Args:
        structure: to be checked.
        property_name: subject of the message, such as `phonons need`.

    Raises:
        InputError: it is not.
    """
    if not structure.pbc.all():
        raise InputError(f"{structure.source}: {property_name} a crystal, periodic in three directions")


def quietly(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function of phonopy without its warnings of other versions of itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)
