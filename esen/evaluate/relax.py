"""Relaxing positions and lattice of a structure by ASE, for any calculator.

Constraints of the structure are kept. Atoms that are fixed, or fixed along a direction, stay where they are; in a cell
that moves they stay in place relative to the lattice, as with ASE's `FrechetCellFilter`. Forces along fixed directions
do not count.
"""

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.constraints import FixCom, FixConstraint, FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE, LBFGS
from jaxtyping import Float64
from scipy.spatial import KDTree

from esen.data.atoms import to_atoms
from esen.data.constraints import free_directions, named, other_constraints, projected
from esen.data.neighbours import neighbour_list
from esen.data.structure import Structure
from esen.errors import InputError, first_line, typed_line

MELTED_VOLUME = 2.0
"""A crystal whose volume is more than doubled or halved is not the one that was given: melting changes it by a tenth,
changes of phase by less than a half."""
MELTED_SHARE = 0.5
"""Of the distance to the nearest neighbour, root mean square over atoms. Those that have gone further are nearer to
another's place than to their own; a crystal melts when its atoms vibrate by 0.1 to 0.15 of it (Lindemann 1910). Single
atoms may go further: a group that turns does not melt the crystal."""
CLOSEST = 0.4
"""Å; the shortest bond there is, that of H₂, is 0.74."""
SYMPREC = 1e-4
"""Å. Tolerance of a space group that is kept, and the tightest of those that are reported, unless told otherwise."""
LOOSEST = 0.1
"""Å. Looser tolerances find symmetry in any crystal."""
SOFT = 1.0
"""eV/Å². Force constant of a soft direction of a crystal."""
RUNAWAY_VOLUME = 10.0
"""Where the volume is so many times as large or as small, there is no way back: the relaxation ends."""


@dataclass(frozen=True)
class RelaxSpec:
    """How far, and what may move.

    Attributes:
        fmax: the largest force that may be left, in eV/Å; that of the lattice counts as ASE's `FrechetCellFilter` does.
        steps: at most.
        cell: whether the lattice moves, too; only that of a structure with three periods ever does.
        tilt: whether its angles may change; if not, only the three stretches along x, y and z are free.
        fixed_volume: whether only the shape of the lattice changes, not its volume.
        keep_symmetry: whether the space group is kept. Atoms are first put at their ideal places, within `symprec`.
        symprec: tolerance of space groups in Å; None: `SYMPREC` for one that is kept, `found_within` for those that are
            reported.
        optimizer: of ASE.
    """

    fmax: float = 0.01
    steps: int = 500
    cell: bool = True
    tilt: bool = True
    fixed_volume: bool = False
    keep_symmetry: bool = False
    symprec: float | None = None
    optimizer: Literal["fire", "lbfgs"] = "fire"

    @property
    def found_within(self) -> float:
        """Tolerance in Å of the space groups that are reported.

        A force of `fmax` that is left displaces an atom by fmax / k from its ideal place, where k is 1 eV/Å² in a soft
        direction of a crystal. A tighter tolerance would report what relaxation leaves as a loss of symmetry. With the
        usual fmax of 0.01 eV/Å it is 0.01 Å, as in Matbench Discovery.
        """
        return min(max(SYMPREC, self.fmax / SOFT), LOOSEST) if self.symprec is None else self.symprec


@dataclass(frozen=True, eq=False)
class Relaxed:
    """Where it ended.

    Attributes:
        structure: relaxed, with energy and forces, and with the stress where the cell has a volume and the
            calculator gives it.
        converged: whether the forces fell below what was asked for.
        steps: made.
        fmax: the largest force that is left on an atom along directions that are free, in eV/Å.
        groups: numbers of the space group before and after; 0 where there is none.
        energy_before: in eV.
        fmax_before: the largest force on an atom in the beginning, in eV/Å.
        volume_ratio: after to before; 1 without three periods.
        displacement: of the atom that moved furthest, in Å: relative to the lattice, in terms of the relaxed one, and
            to the mean of all atoms.
        share: root mean square over atoms of their displacements, each in units of its own distance to the nearest
            neighbour in the beginning.
        fixed: number of atoms that constraints fix, at least along one direction.
        frozen: whether nothing could move.
    """

    structure: Structure
    converged: bool
    steps: int
    fmax: float
    groups: tuple[int, int]
    energy_before: float
    fmax_before: float
    volume_ratio: float
    displacement: float
    share: float
    fixed: int
    frozen: bool

    @property
    def melted(self) -> bool:
        """Whether this is another crystal than was given. Molecules and surfaces may turn, fold and rebuild."""
        if not self.structure.pbc.all():
            return False
        return self._swollen or self.share > MELTED_SHARE

    @property
    def change(self) -> str:
        """What has changed most, in words."""
        if self._swollen:
            return f"its volume is {self.volume_ratio:.3g} times what it was"
        return (
            f"its atoms moved by {self.share:.2g} of the distance to their nearest neighbours"
            f" (the furthest by {self.displacement:.3g} Å)"
        )

    @property
    def _swollen(self) -> bool:
        return not 1 / MELTED_VOLUME <= self.volume_ratio <= MELTED_VOLUME


def relax(structure: Structure, calculator: Any, spec: RelaxSpec) -> Relaxed:
    """Relax one structure.

    Raises:
        InputError: there are no atoms, the calculator raises, gives no stress where the lattice is to move, or what it
            gives is not finite; the message says what.
    """
    if not len(structure):
        raise InputError(f"{structure.source}: there are no atoms")
    try:
        with np.errstate(all="ignore"):  # what overflows is not finite, and found below
            return _relax(structure, calculator, spec)
    except InputError:
        forget_failure(calculator)
        raise
    except PropertyNotImplementedError as error:
        name = type(calculator).__name__
        raise InputError(
            f"{structure.source}: the calculator {name} lacks what relaxing needs ({first_line(error)});"
            " without a stress, relax positions alone: --no-cell"
        ) from error
    except (Exception, SystemExit) as error:  # whatever a foreign calculator meets, or a script that it calls
        forget_failure(calculator)
        raise InputError(f"{structure.source}: relaxation ended by {typed_line(error)}") from error


def _relax(structure: Structure, calculator: Any, spec: RelaxSpec) -> Relaxed:
    atoms = to_atoms(structure)
    crystal = bool(structure.pbc.all())
    nearest = nearest_distances(structure)
    if nearest.min() < CLOSEST:
        raise InputError(
            f"{structure.source}: atoms are {nearest.min():.2g} Å apart, closer than any; are its lengths in Å?"
        )
    before = space_group(structure, spec.found_within)
    moves_cell = spec.cell and crystal
    free = _constrain(atoms, structure, spec, moves_cell=moves_cell)
    start = atoms.copy()
    atoms.calc = calculator
    mask = None if spec.tilt else [True, True, True, False, False, False]
    moving = _CellFilter(atoms, mask=mask, constant_volume=spec.fixed_volume) if moves_cell else atoms
    energy_before, forces = _finite(atoms, structure.source)
    fmax_before = _largest(_counting(atoms, forces))
    optimizer = {"fire": FIRE, "lbfgs": LBFGS}[spec.optimizer](moving, logfile=None)
    converged = False
    for reached in optimizer.irun(fmax=spec.fmax, steps=spec.steps):
        energy, forces = _finite(atoms, structure.source)
        converged = bool(reached)
        if crystal and not 1 / RUNAWAY_VOLUME < _volume_ratio(start, atoms) < RUNAWAY_VOLUME:
            converged = False
            break
    found = replace(
        structure,
        positions=atoms.get_positions(),
        cell=np.array(atoms.cell.array, dtype=np.float64),
        energy=energy,
        forces=np.array(forces, dtype=np.float64),
        stress=_stress(atoms) if structure.has_volume else None,
    )
    moved = _displacements(start, atoms)
    return Relaxed(
        structure=found,
        converged=converged,
        steps=int(optimizer.nsteps),
        fmax=_largest(_counting(atoms, forces)),
        groups=(before, space_group(found, spec.found_within)),
        energy_before=energy_before,
        fmax_before=fmax_before,
        volume_ratio=_volume_ratio(start, atoms) if crystal else 1.0,
        displacement=float(moved.max()),
        share=float(np.sqrt(np.mean((moved / nearest) ** 2))),
        fixed=0 if free is None else int((np.trace(free, axis1=1, axis2=2) < 2.5).sum()),
        frozen=free is not None and not free.any() and not moves_cell,
    )


def _constrain(
    atoms: Atoms, structure: Structure, spec: RelaxSpec, *, moves_cell: bool
) -> Float64[np.ndarray, "N 3 3"] | None:
    """Give the atoms their constraints; return the directions in which each may move, or None if all may in all.

    Raises:
        InputError: a constraint cannot be kept while the cell moves.
    """
    others = other_constraints(structure.constraints)
    refused = [other for other in others if not isinstance(other, FixSymmetry | FixCom)]
    if moves_cell and refused:
        raise InputError(
            f"{structure.source}: {named(refused)} cannot be kept while the cell moves;"
            " relax positions alone (--no-cell), or remove the constraint"
        )
    free = free_directions(structure.constraints, structure.cell, len(structure))
    held = [] if free is None else [_Held(structure.constraints)]
    atoms.set_constraint(held)
    if spec.keep_symmetry and bool(structure.pbc.all()):
        others = [FixSymmetry(atoms, symprec=SYMPREC if spec.symprec is None else spec.symprec), *others]
    atoms.set_constraint([*deepcopy(others), *held])
    return free


class _Held(FixConstraint):  # type: ignore[misc]  # ASE has no types
    """Keeps what constraints of single atoms fix, several of one atom included.

    ASE's own constraints act one after the other, and its `FixScaled` does not project forces in skewed cells.
    """

    def __init__(self, constraints: tuple[Any, ...]) -> None:
        self._constraints = constraints
        self._known: tuple[bytes, Any] = b"", None

    def adjust_positions(self, atoms: Atoms, new: Float64[np.ndarray, "N 3"]) -> None:
        """Take back the moves along fixed directions."""
        new[:] = atoms.positions + projected(new - atoms.positions, self._free(atoms))

    def adjust_forces(self, atoms: Atoms, forces: Float64[np.ndarray, "N 3"]) -> None:
        """Remove the components along fixed directions."""
        forces[:] = projected(forces, self._free(atoms))

    def _free(self, atoms: Atoms) -> Float64[np.ndarray, "N 3 3"]:
        where = atoms.cell.array.tobytes()
        if where != self._known[0]:
            self._known = where, free_directions(self._constraints, atoms.cell.array, len(atoms))
        return np.asarray(self._known[1])


def forget_failure(calculator: Any) -> None:
    """Let a calculator of ASE begin anew with the next structure: one that raised may take it for the last one."""
    if callable(reset := getattr(calculator, "reset", None)):
        reset()


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


def nearest_distances(structure: Structure) -> Float64[np.ndarray, " N"]:
    """From each atom to the nearest other, images included, in Å; infinite for an atom that is all alone."""
    found = np.full(len(structure), np.inf)
    if not structure.pbc.any():
        return (
            found
            if len(structure) == 1
            else KDTree(structure.positions).query(structure.positions, k=2)[0][:, 1]
        )
    cutoff = 3.0
    while not np.isfinite(found).all():
        sender, receiver, shift = neighbour_list(structure.positions, structure.cell, structure.pbc, cutoff)
        periods = np.where(structure.pbc[:, None], structure.cell, 0.0)
        apart = structure.positions[sender] + shift @ periods - structure.positions[receiver]
        np.minimum.at(found, receiver, np.linalg.norm(apart, axis=1))
        cutoff *= 2
    return found


class _CellFilter(FrechetCellFilter):  # type: ignore[misc]  # ASE has no types
    """ASE's, which remembers its last forces: an optimizer asks three times a step, at 1.5 ms each."""

    _known: tuple[bytes, Any] = b"", None

    def get_forces(self, **kwargs: Any) -> Any:
        """As ASE's."""
        where = self.atoms.positions.tobytes() + self.atoms.cell.array.tobytes()
        if where != self._known[0]:
            self._known = where, super().get_forces(**kwargs)
        return self._known[1].copy()


def _finite(atoms: Atoms, source: str) -> tuple[float, Float64[np.ndarray, "N 3"]]:
    """Energy and forces, if they are finite."""
    energy = float(atoms.get_potential_energy(apply_constraint=False))  # without that of springs
    forces = atoms.get_forces(apply_constraint=False)
    if not (np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(atoms.positions).all()):
        raise InputError(f"{source}: energy or forces are not finite any more")
    return energy, np.asarray(forces, dtype=np.float64)


def _stress(atoms: Atoms) -> Float64[np.ndarray, "3 3"] | None:
    try:
        stress = np.asarray(atoms.get_stress(voigt=False, apply_constraint=False), dtype=np.float64)
    except (
        Exception
    ):  # by whatever name the calculator says that it has none; a lattice that moves has asked before
        return None
    return stress if np.isfinite(stress).all() else None


def _displacements(start: Atoms, end: Atoms) -> Float64[np.ndarray, " N"]:
    if start.pbc.all():
        # Not brought back into the cell: neither were the positions on their way.
        apart = np.linalg.solve(end.cell.array.T, end.positions.T).T
        apart -= np.linalg.solve(start.cell.array.T, start.positions.T).T
        moved = (apart - _drift(end, apart)) @ end.cell.array
    else:
        apart = end.positions - start.positions
        moved = apart - _drift(end, apart)
    return np.asarray(np.linalg.norm(moved, axis=1))


def _drift(atoms: Atoms, apart: Float64[np.ndarray, "N 3"]) -> Float64[np.ndarray, " 3"]:
    """Return the mean displacement; zero if constraints hold some atoms in place."""
    return np.zeros(3) if any(isinstance(c, _Held) for c in atoms.constraints) else apart.mean(axis=0)


def _volume_ratio(start: Atoms, end: Atoms) -> float:
    return float(abs(np.linalg.det(end.cell.array)) / abs(np.linalg.det(start.cell.array)))


def _counting(atoms: Atoms, forces: Float64[np.ndarray, "N 3"]) -> Float64[np.ndarray, "N 3"]:
    """Return the forces that constraints of the structure leave to relax; symmetry takes away only rounding."""
    found = forces.copy()
    for constraint in atoms.constraints:
        if not isinstance(constraint, FixSymmetry):
            constraint.adjust_forces(atoms, found)
    return found


def _largest(forces: Float64[np.ndarray, "N 3"]) -> float:
    return float(np.linalg.norm(forces, axis=1).max())
