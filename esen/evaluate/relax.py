"""Relaxing positions and lattice of a crystal by ASE, for any calculator."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE, LBFGS
from jaxtyping import Float64

from esen.data.structure import Structure
from esen.errors import InputError


@dataclass(frozen=True)
class RelaxSpec:
    """How far, and what may move.

    Attributes:
        fmax: the largest force that may be left, in eV/Å; that of the lattice counts as ASE's `FrechetCellFilter` does.
        steps: at most.
        cell: whether the lattice moves, too.
        keep_symmetry: whether the space group is kept.
        symprec: to which it is found, in Å.
        optimizer: of ASE.
    """

    fmax: float = 0.01
    steps: int = 500
    cell: bool = True
    keep_symmetry: bool = False
    symprec: float = 1e-4
    optimizer: Literal["fire", "lbfgs"] = "fire"


@dataclass(frozen=True, eq=False)
class Relaxed:
    """Where it ended.

    Attributes:
        structure: relaxed, with energy, forces and stress.
        converged: whether the forces fell below what was asked for.
        steps: made.
        fmax: the largest force that is left on an atom, in eV/Å.
        groups: numbers of the space group before and after; 0 where there is none.
    """

    structure: Structure
    converged: bool
    steps: int
    fmax: float
    groups: tuple[int, int]


def relax(structure: Structure, calculator: Any, spec: RelaxSpec) -> Relaxed:
    """Relax one structure.

    Raises:
        InputError: the calculator raises, or what it gives is not finite; the message says what.
    """
    atoms = Atoms(structure.numbers, structure.positions, cell=structure.cell, pbc=structure.pbc)
    before = space_group(structure, spec.symprec)
    if spec.keep_symmetry and structure.pbc.all():
        atoms.set_constraint(FixSymmetry(atoms, symprec=spec.symprec))
    atoms.calc = calculator
    moving = FrechetCellFilter(atoms) if spec.cell and structure.pbc.all() else atoms
    optimizer = {"fire": FIRE, "lbfgs": LBFGS}[spec.optimizer](moving, logfile=None)
    try:
        converged = bool(optimizer.run(fmax=spec.fmax, steps=spec.steps))
        energy, forces = float(atoms.get_potential_energy()), atoms.get_forces(apply_constraint=False)
    except InputError:
        raise
    except Exception as error:  # whatever a foreign calculator meets
        words = (str(error).strip().splitlines() or [""])[0]
        raise InputError(
            f"{structure.source}: relaxation ended by {type(error).__name__}: {words}"
        ) from error
    finite = np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(atoms.positions).all()
    if not finite:
        raise InputError(f"{structure.source}: energy or forces are not finite any more")
    found = Structure(
        numbers=structure.numbers,
        positions=atoms.get_positions(),
        cell=np.array(atoms.cell.array, dtype=np.float64),
        pbc=structure.pbc,
        energy=energy,
        forces=np.array(forces, dtype=np.float64),
        info=dict(structure.info),
        source=structure.source,
    )
    largest = float(np.linalg.norm(forces, axis=1).max()) if len(forces) else 0.0
    return Relaxed(
        found, converged, int(optimizer.nsteps), largest, (before, space_group(found, spec.symprec))
    )


def space_group(structure: Structure, symprec: float) -> int:
    """Its number, 1 to 230; 0 for what is not periodic in three directions, or no crystal at all."""
    import spglib

    if not structure.pbc.all():
        return 0
    cell: Any = (structure.cell, fractional(structure), structure.numbers)
    try:
        found = spglib.get_symmetry_dataset(cell, symprec=symprec)
    except Exception:  # by whatever name its version has: atoms in one place, a cell without volume
        return 0
    return 0 if found is None else int(found.number)


def fractional(structure: Structure) -> Float64[np.ndarray, "N 3"]:
    """Positions in units of the lattice vectors."""
    return np.asarray(np.linalg.solve(structure.cell.T, structure.positions.T).T)
