"""What is kept of one structure."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.formula import Formula
from ase.stress import full_3x3_to_voigt_6_stress

from esen.data.structure import Structure
from esen.evaluate.relax import Relaxed
from esen.study.relax.choose import Input

NAN = float("nan")


@dataclass(frozen=True)
class Record:
    """One structure of one potential.

    Attributes:
        name: unique in the run.
        source: the file, and the frame.
        formula: in Hill's order.
        atoms: how many.
        energy_before: in eV.
        energy: relaxed, in eV.
        fmax_before: the largest force on an atom, in eV/Å.
        fmax: what is left of it.
        steps: made.
        converged: whether the forces fell below what was asked for.
        melted: whether it is another crystal than was given.
        change: what has changed most, in words.
        volume_ratio: after to before.
        displacement: of the atom that moved furthest relative to the lattice, in Å.
        groups: numbers of the space group before and after; 0 where there is none.
        numbers: atomic numbers.
        positions: relaxed, in Å.
        cell: relaxed, rows are lattice vectors, in Å.
        pbc: which of them are periods.
        forces: left, in eV/Å.
        stress: left, in eV/Å³, ASE's sign; None: the calculator gives none, or there are not three periods.
        direct: whether the forces are no gradient of the energy.
        failure: why there is no result; empty: there is.
    """

    name: str
    source: str
    formula: str
    atoms: int
    energy_before: float = NAN
    energy: float = NAN
    fmax_before: float = NAN
    fmax: float = NAN
    steps: int = 0
    converged: bool = False
    melted: bool = False
    change: str = ""
    volume_ratio: float = NAN
    displacement: float = NAN
    groups: tuple[int, ...] = ()
    numbers: list[int] | None = None
    positions: list[list[float]] | None = None
    cell: list[list[float]] | None = None
    pbc: list[bool] | None = None
    forces: list[list[float]] | None = None
    stress: list[list[float]] | None = None
    direct: bool = False
    failure: str = ""

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if self.failure:
            return "failed"
        if self.melted:
            return "melted"
        return "converged" if self.converged else "not converged"

    @property
    def gained(self) -> float:
        """Relaxed less given energy, in meV/atom."""
        return 1000 * (self.energy - self.energy_before) / max(self.atoms, 1)


def record_of(one: Input, found: Relaxed, *, direct: bool = False) -> Record:
    """What was found."""
    s = found.structure
    assert s.energy is not None
    assert s.forces is not None
    return Record(
        name=one.name,
        source=s.source,
        formula=formula_of(one.structure),
        atoms=len(s),
        energy_before=found.energy_before,
        energy=s.energy,
        fmax_before=found.fmax_before,
        fmax=found.fmax,
        steps=found.steps,
        converged=found.converged,
        melted=found.melted,
        change=found.change,
        volume_ratio=found.volume_ratio,
        displacement=found.displacement,
        groups=found.groups,
        numbers=s.numbers.tolist(),
        positions=s.positions.tolist(),
        cell=s.cell.tolist(),
        pbc=s.pbc.tolist(),
        forces=s.forces.tolist(),
        stress=None if s.stress is None else s.stress.tolist(),
        direct=direct,
    )


def failed(one: Input, reason: str) -> Record:
    """A structure that has no result."""
    structure = one.structure
    return Record(one.name, structure.source, formula_of(structure), len(structure), failure=reason)


def atoms_of(record: Record) -> Atoms:
    """The relaxed structure for ASE, with energy, forces, and stress where there is one."""
    atoms = Atoms(record.numbers, record.positions, cell=record.cell, pbc=record.pbc)
    results = {"energy": record.energy, "forces": np.array(record.forces)}
    if record.stress is not None:
        results["stress"] = full_3x3_to_voigt_6_stress(np.array(record.stress))
    atoms.calc = SinglePointCalculator(atoms, **results)
    atoms.info = {"name": record.name, "converged": record.converged, "melted": record.melted}
    if record.groups[-1]:
        atoms.info["space_group"] = record.groups[-1]
    return atoms


def formula_of(structure: Structure) -> str:
    """Of all its atoms, in Hill's order."""
    symbols = Atoms(structure.numbers).get_chemical_symbols()
    return str(Formula.from_list(symbols).format("hill"))
