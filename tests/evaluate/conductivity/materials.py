"""Materials whose conductivity is cheap, and phono3py's silicon with force sets (VASP, PBE; BSD-3)."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from esen.evaluate.conductivity.inputs import Sizes, material_of_structure
from esen.evaluate.conductivity.material import Material
from esen.evaluate.conductivity.modes import modes_of
from esen.evaluate.conductivity.protocol import PROTOCOLS
from esen.evaluate.conductivity.reference import ReferenceConductivity
from esen.evaluate.conductivity.run import Conductivity, conductivity_at
from esen.evaluate.phonons.run import Model
from tests.evaluate.phonons.crystals import model_of, structure_of

SILICON = Path(__file__).parent / "silicon" / "phono3py_disp.yaml.xz"
PUBLISHED = PROTOCOLS["phonondb-103"]
TIGHT = PROTOCOLS["tight"]
RELAXED = 3.994277
"""Lattice constant of aluminium by EMT, in Å."""


class Counted(EMT):
    """EMT that counts how often it is asked."""

    calls = 0

    def calculate(self, *args: Any, **kwargs: Any) -> None:
        self.calls += 1
        super().calculate(*args, **kwargs)


def material_of(atoms: Atoms, fc2: int, fc3: int, mesh: int, name: str = "made") -> Material:
    sizes = Sizes(np.diag([fc2] * 3), np.diag([fc3] * 3), mesh=(mesh, mesh, mesh))
    return material_of_structure(structure_of(atoms, name), name, sizes, 1e-5)


def aluminium(fc2: int = 2, fc3: int = 2, mesh: int = 5) -> Material:
    return material_of(bulk("Al", a=RELAXED, cubic=True), fc2, fc3, mesh, "Al")


def emt() -> Model:
    return model_of(EMT())


@cache
def coarse() -> Conductivity:
    """Aluminium on a coarse mesh."""
    return conductivity_at(aluminium(), None, emt(), TIGHT)


def coarse_reference() -> ReferenceConductivity:
    """Its conductivity, as others are compared with it."""
    found = modes_of(coarse()).as_reference("Al", "Al", 225)
    assert found is not None
    return found


def alloy() -> Material:
    """AuCu, L1_0: tetragonal, two atoms of different mass."""
    atoms = Atoms("AuCu", [[0, 0, 0], [0.5, 0.5, 0.5]], cell=np.eye(3), pbc=True)
    atoms.set_cell([2.75, 2.75, 3.9], scale_atoms=True)
    return material_of(atoms, 2, 2, 3, "AuCu")


def simple_cubic() -> Material:
    """Copper as it is not found: unstable."""
    return replace(material_of(bulk("Cu", "sc", a=2.4), 3, 2, 4, "sc-Cu"), label="Cu")
