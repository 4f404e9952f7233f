"""Crystals whose phonons are cheap, and phonopy's NaCl with force sets (VASP, PBE; BSD-3, LICENSE.phonopy)."""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.spacegroup import crystal as ase_crystal

from esen.data.structure import Structure
from esen.evaluate.phonons.crystal import Crystal
from esen.evaluate.phonons.inputs import crystal_of_structure
from esen.evaluate.phonons.protocol import PROTOCOLS
from esen.evaluate.phonons.run import Model
from esen.md.calculator import AsePotential

NACL = Path(__file__).parent / "NaCl.yaml"
TIGHT = PROTOCOLS["tight"]
STILL = replace(TIGHT, relax=None)


def structure_of(atoms: Atoms, source: str = "made") -> Structure:
    return Structure(
        np.array(atoms.numbers),
        atoms.get_positions(),
        np.array(atoms.cell.array),
        np.array(atoms.pbc),
        source=source,
    )


def crystal_of(atoms: Atoms, *multiples: int) -> Crystal:
    return crystal_of_structure(structure_of(atoms), "made", np.diag(multiples or (1, 1, 1)), 1e-5)


def copper(*multiples: int) -> Crystal:
    return crystal_of(bulk("Cu", cubic=True), *(multiples or (2, 2, 2)))


def sodium_chloride() -> Atoms:
    return bulk("NaCl", "rocksalt", a=5.69, cubic=True)


def corundum() -> Atoms:
    """Al2O3 in the hexagonal cell, three times the rhombohedral one."""
    return ase_crystal(
        ["Al", "O"],
        [(0, 0, 0.352), (0.306, 0, 0.25)],
        spacegroup=167,
        cellpar=[4.76, 4.76, 12.99, 90, 90, 120],
    )


def model_of(calculator: Any) -> Model:
    return Model(AsePotential(calculator), calculator)


def emt() -> Model:
    return model_of(EMT())


class Springs(Calculator):
    """Neighbours of a simple cubic lattice by springs along and across; across negative: unstable."""

    implemented_properties: ClassVar = ["energy", "forces"]

    def __init__(self, along: float, across: float) -> None:
        super().__init__()
        self.along, self.across = along, across

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        cell = np.diag(self.atoms.cell.array)
        size = np.rint(cell / 3.0).astype(int)
        sites = np.rint(self.atoms.positions / 3.0).astype(int) % size
        away = self.atoms.positions / 3.0 - np.rint(self.atoms.positions / 3.0)
        grid = np.zeros((*size, 3))
        grid[tuple(sites.T)] = away * 3.0
        forces = np.zeros_like(grid)
        for axis in range(3):
            strength = np.where(np.arange(3) == axis, self.along, self.across)
            for step in (1, -1):
                forces += strength * (np.roll(grid, step, axis=axis) - grid)
        energy = -0.5 * float((forces * grid).sum())
        self.results = {"energy": energy, "forces": forces[tuple(sites.T)]}


def cubic() -> Atoms:
    return Atoms("Au", cell=[3.0, 3.0, 3.0], pbc=True)
