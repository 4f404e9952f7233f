"""A crystal whose phonons are computed, and its reference values."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ParamSpec, TypeVar

import numpy as np
from jaxtyping import Float64, Int64
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from esen.data.structure import Structure
from esen.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")


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
    """Convert to phonopy's atoms; without masses they have phonopy's masses of the elements."""
    return PhonopyAtoms(
        numbers=structure.numbers, cell=structure.cell, positions=structure.positions, masses=masses
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

    The width is the distance of opposite faces, 1 / |column of the inverse|.
    """
    widths = widths_of(cell)
    return np.diag(np.maximum(1, np.ceil(shortest / widths - 1e-6))).astype(np.int64)


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
