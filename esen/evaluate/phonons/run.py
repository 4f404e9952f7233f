"""Phonons of one crystal, from its unit cell."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Int64
from phonopy import Phonopy

from esen.data.constraints import without_constraints
from esen.data.structure import Structure
from esen.errors import InputError, first_line
from esen.evaluate.model import Model, Progress, no_progress
from esen.evaluate.phonons.crystal import (
    Crystal,
    check_bound,
    check_several_atoms,
    make_phonopy,
    narrow_supercell,
)
from esen.evaluate.phonons.force_constants import by_displacements, by_hessian
from esen.evaluate.phonons.properties import Properties, measure
from esen.evaluate.phonons.protocol import PhononProtocol
from esen.evaluate.relax import Relaxed, RelaxSpec, relax


@dataclass(frozen=True, eq=False)
class Phonons:
    """Phonons of one crystal.

    Attributes:
        crystal: with the cell that they were computed at.
        relaxed: the relaxation that led there; None: the cell was taken as it is.
        phonopy: with force constants.
        properties: computed from the force constants.
    """

    crystal: Crystal
    relaxed: Relaxed | None
    phonopy: Phonopy
    properties: Properties


def phonons_at(
    crystal: Crystal,
    how: Relaxed | None,
    model: Model,
    protocol: PhononProtocol,
    progress: Progress = no_progress,
) -> Phonons:
    """Compute the force constants of a crystal as it is, by displacements or exactly, and the properties.

    Args:
        crystal: at the cell at which phonons are computed.
        how: the relaxation that led there.
        model: the potential.
        protocol: how phonons are computed.
        progress: is called with the number of displaced supercells done and of all.

    Raises:
        InputError: the potential cannot compute the crystal, or phonopy cannot use its cell.
    """
    try:
        phonons = make_phonopy(crystal, protocol.symprec)
    except Exception as error:  # of spglib and phonopy
        raise InputError(f"{crystal.name}: phonopy cannot use the cell ({first_line(error)})") from error
    check_several_atoms(crystal.name, phonons.supercell)
    if protocol.method == "hessian":
        if model.differentiable is None:
            raise InputError(
                "--method hessian: only conservative potentials of esen have exact second derivatives; leave it out"
            )
        by_hessian(phonons, model.differentiable, model.device, model.batch_atoms)
    else:
        by_displacements(phonons, protocol, partial(model.forces, progress=progress))
    check_bound(crystal.name, phonons.force_constants)
    return Phonons(crystal, how, phonons, measure(phonons, protocol))


def notes_on(phonons: Phonopy, model: Model) -> tuple[str, ...]:
    """Return remarks on a result: whether the supercell is narrower than the forces reach."""
    return tuple(narrow_supercell(phonons.supercell.cell, 2 * model.potential.cutoff))


def relaxed_crystal(crystal: Crystal, calculator: Any, protocol: PhononProtocol) -> tuple[Crystal, Relaxed]:
    """Relax the unit cell, or the primitive cell, of which the unit cell is then made, without constraints."""
    spec = RelaxSpec(
        fmax=protocol.fmax,
        steps=protocol.relax_steps,
        keep_symmetry=protocol.keep_symmetry,
        symprec=protocol.symprec,
    )
    if protocol.relax == "unit":
        found = relax(without_constraints(crystal.unitcell), calculator, spec)
        unit = found.structure
    else:
        primitive, place = primitive_cell(crystal)
        found = relax(primitive, calculator, spec)
        unit = unit_cell(crystal, found.structure, place)
    return replace(crystal, unitcell=replace(unit, constraints=crystal.unitcell.constraints)), found


def primitive_cell(crystal: Crystal) -> tuple[Structure, Int64[np.ndarray, " atoms"]]:
    """Return the primitive cell, and for each atom of the unit cell the index of the atom that it repeats."""
    unit = crystal.unitcell
    cell = crystal.primitive.T @ unit.cell  # columns of the matrix are the new vectors
    scaled = np.linalg.solve(cell.T, unit.positions.T).T
    chosen: list[int] = []
    place = np.zeros(len(unit), dtype=np.int64)
    for atom, (x, z) in enumerate(zip(scaled, unit.numbers, strict=True)):
        for number, other in enumerate(chosen):
            shift = x - scaled[other]
            if unit.numbers[other] == z and np.linalg.norm((shift - np.rint(shift)) @ cell) < 1e-2:
                place[atom] = number
                break
        else:
            place[atom] = len(chosen)
            chosen.append(atom)
    found = Structure(
        unit.numbers[chosen], unit.positions[chosen], cell, np.ones(3, dtype=np.bool_), source=unit.source
    )
    return found, place


def unit_cell(crystal: Crystal, primitive: Structure, place: Int64[np.ndarray, " atoms"]) -> Structure:
    """Make the unit cell of a relaxed primitive cell: each atom moves as the one that it repeats."""
    before, _ = primitive_cell(crystal)
    unit = crystal.unitcell
    cell = np.linalg.inv(crystal.primitive.T) @ primitive.cell
    # In units of the primitive lattice the distance to the repeated atom is whole, and stays.
    old = np.linalg.solve(before.cell.T, (unit.positions - before.positions[place]).T).T
    positions = primitive.positions[place] + np.rint(old) @ primitive.cell
    return Structure(unit.numbers, positions, cell, unit.pbc, source=unit.source)
