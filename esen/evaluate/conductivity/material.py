"""A material whose thermal conductivity is computed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64
from phono3py import Phono3py

from esen.data.structure import Structure
from esen.errors import InputError, first_line
from esen.evaluate.phonons.crystal import check_masses, quietly, to_phonopy


@dataclass(frozen=True, eq=False)
class ForceSets:
    """Displacements and forces of the reference method, in phono3py's layout.

    Attributes:
        third: those of the supercell for third derivatives.
        second: those of the supercell for second derivatives; None: these follow from `third`, too.
    """

    third: Mapping[str, Any]
    second: Mapping[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class Material:
    """A crystal with its supercells and its mesh.

    Attributes:
        name: unique in a run; the identifier in the benchmark.
        unitcell: the cell that both supercells are made of.
        fc2_supercell: lattice vectors of the supercell for second derivatives, as columns of multiples of those of the
            unit cell (phonopy's matrix).
        fc3_supercell: the same for third derivatives.
        mesh: divisions of the Brillouin zone.
        primitive: primitive lattice vectors in the same form; None: found by spglib.
        label: name in tables.
        space_group: its number in the file; None: the file has none.
        reference: forces of the reference method.
        masses: masses of the atoms of the unit cell, in u; None: those of the elements.
    """

    name: str
    unitcell: Structure
    fc2_supercell: Int64[np.ndarray, "3 3"]
    fc3_supercell: Int64[np.ndarray, "3 3"]
    mesh: tuple[int, int, int]
    primitive: Float64[np.ndarray, "3 3"] | None = None
    label: str = ""
    space_group: int | None = None
    reference: ForceSets | None = None
    masses: Float64[np.ndarray, " N"] | None = None


MOST_POINTS = 10**6
"""Largest mesh that is accepted, in points. The work grows with their square; the benchmark has 7000."""


def make_phono3py(material: Material, symprec: float, *, single: bool = False) -> Phono3py:
    """Make phono3py of a material, without forces.

    Args:
        material: the crystal with its supercells and its mesh.
        symprec: distance in Å within which atoms are equivalent.
        single: whether second derivatives come from the supercell for third derivatives, too.

    Raises:
        InputError: phono3py cannot use the cell.
    """
    points = int(np.prod(material.mesh))
    if points > MOST_POINTS:
        mesh = "×".join(map(str, material.mesh))
        raise InputError(
            f"{material.name}: a mesh of {mesh} has {points:.3g} points, more than {MOST_POINTS:.0g}"
        )
    try:
        atoms = to_phonopy(material.unitcell, material.masses)
        check_masses(material.name, atoms, symprec)
        found = quietly(
            Phono3py,
            atoms,
            supercell_matrix=material.fc3_supercell,
            phonon_supercell_matrix=None if single else material.fc2_supercell,
            primitive_matrix="auto" if material.primitive is None else material.primitive,
            symprec=symprec,
            log_level=0,
        )
        found.mesh_numbers = material.mesh
    except InputError:
        raise
    except Exception as error:  # of spglib, phonopy and phono3py, of any type
        raise InputError(f"{material.name}: phono3py cannot use the cell ({first_line(error)})") from error
    return found
