"""Relaxing positions and lattice of a structure by ASE, for any calculator."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE, LBFGS
from jaxtyping import Float64
from scipy.spatial import KDTree

from esen.data.atoms import to_atoms
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
        symprec: to which it is found, in Å.
        optimizer: of ASE.
    """

    fmax: float = 0.01
    steps: int = 500
    cell: bool = True
    tilt: bool = True
    fixed_volume: bool = False
    keep_symmetry: bool = False
    symprec: float = 1e-4
    optimizer: Literal["fire", "lbfgs"] = "fire"


@dataclass(frozen=True, eq=False)
class Relaxed:
    """Where it ended.

    Attributes:
        structure: relaxed, with energy and forces, and with the stress where there are three periods and the calculator
            gives it.
        converged: whether the forces fell below what was asked for.
        steps: made.
        fmax: the largest force that is left on an atom, in eV/Å.
        groups: numbers of the space group before and after; 0 where there is none.
        energy_before: in eV.
        fmax_before: the largest force on an atom in the beginning, in eV/Å.
        volume_ratio: after to before; 1 without three periods.
        displacement: of the atom that moved furthest, in Å: relative to the lattice, in terms of the relaxed one, and
            to the mean of all atoms.
        share: root mean square over atoms of their displacements, each in units of its own distance to the nearest
            neighbour in the beginning.
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
    before = space_group(structure, spec.symprec)
    if spec.keep_symmetry and crystal:
        atoms.set_constraint(FixSymmetry(atoms, symprec=spec.symprec))
    start = atoms.copy()
    atoms.calc = calculator
    free = None if spec.tilt else [True, True, True, False, False, False]
    moving = (
        _CellFilter(atoms, mask=free, constant_volume=spec.fixed_volume) if spec.cell and crystal else atoms
    )
    energy_before, forces = _finite(atoms, structure.source)
    fmax_before = _largest(forces)
    optimizer = {"fire": FIRE, "lbfgs": LBFGS}[spec.optimizer](moving, logfile=None)
    converged = False
    for reached in optimizer.irun(fmax=spec.fmax, steps=spec.steps):
        energy, forces = _finite(atoms, structure.source)
        converged = bool(reached)
        if crystal and not 1 / RUNAWAY_VOLUME < _volume_ratio(start, atoms) < RUNAWAY_VOLUME:
            converged = False
            break
    found = Structure(
        numbers=structure.numbers,
        positions=atoms.get_positions(),
        cell=np.array(atoms.cell.array, dtype=np.float64),
        pbc=structure.pbc,
        energy=energy,
        forces=np.array(forces, dtype=np.float64),
        stress=_stress(atoms) if crystal else None,
        info=dict(structure.info),
        source=structure.source,
    )
    moved = _displacements(start, atoms)
    return Relaxed(
        structure=found,
        converged=converged,
        steps=int(optimizer.nsteps),
        fmax=_largest(forces),
        groups=(before, space_group(found, spec.symprec)),
        energy_before=energy_before,
        fmax_before=fmax_before,
        volume_ratio=_volume_ratio(start, atoms) if crystal else 1.0,
        displacement=float(moved.max()),
        share=float(np.sqrt(np.mean((moved / nearest) ** 2))),
    )


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
    energy, forces = float(atoms.get_potential_energy()), atoms.get_forces(apply_constraint=False)
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
        moved = (apart - apart.mean(axis=0)) @ end.cell.array
    else:
        apart = end.positions - start.positions
        moved = apart - apart.mean(axis=0)
    return np.asarray(np.linalg.norm(moved, axis=1))


def _volume_ratio(start: Atoms, end: Atoms) -> float:
    return float(abs(np.linalg.det(end.cell.array)) / abs(np.linalg.det(start.cell.array)))


def _largest(forces: Float64[np.ndarray, "N 3"]) -> float:
    return float(np.linalg.norm(forces, axis=1).max())
