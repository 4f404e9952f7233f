"""A material whose thermal conductivity is wanted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64
from phono3py import Phono3py

from esen.data.structure import Structure
from esen.errors import InputError, first_line
from esen.evaluate.phonons.crystal import quietly, to_phonopy


@dataclass(frozen=True, eq=False)
class ForceSets:
    """Displacements and forces of the reference method, in phono3py's layout.

    Attributes:
        third: of the supercell for third derivatives.
        second: of that for second derivatives; None: they follow from the same.
    """

    third: Mapping[str, Any]
    second: Mapping[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class Material:
    """What the conductivity is computed of.

    Attributes:
        name: unique among those of a run; an identifier of the benchmark.
        unitcell: the cell that both supercells are made of.
        fc2_supercell: lattice vectors of that for second derivatives, as columns of multiples (phonopy's matrix).
        fc3_supercell: the same for third derivatives.
        mesh: divisions of the Brillouin zone.
        primitive: the primitive lattice vectors, as the supercells'; None: found in the cell.
        label: what it is called in tables.
        space_group: its number as the file says; None: not said.
        reference: forces of the reference method.
        masses: of the atoms of the unit cell, in u; None: those of the elements.
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
"""Of the mesh. The work grows with their square; the benchmark has 7000."""


def make_phono3py(material: Material, symprec: float, *, single: bool = False) -> Phono3py:
    """Phono3py of the material, without forces.

    Args:
        material: what of.
        symprec: to which atoms are equivalent, in Å.
        single: whether second derivatives come from the supercell of the third, too.

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
        found = quietly(
            Phono3py,
            to_phonopy(material.unitcell, material.masses),
            supercell_matrix=material.fc3_supercell,
            phonon_supercell_matrix=None if single else material.fc2_supercell,
            primitive_matrix="auto" if material.primitive is None else material.primitive,
            symprec=symprec,
            log_level=0,
        )
        found.mesh_numbers = material.mesh
    except Exception as error:  # of spglib, phonopy and phono3py, by whatever name
        raise InputError(f"{material.name}: phono3py cannot use the cell ({first_line(error)})") from error
    return found
