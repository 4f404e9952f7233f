"""Small systems at the start of a trajectory, and potentials that fail at a known moment."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, fcc111

from esen.data.masses import masses_of
from esen.data.structure import Structure
from esen.graph.types import Graph, Potential, Prediction
from esen.md.engine import Engine, Start
from esen.md.nve import BatchNve
from esen.md.velocities import maxwell_boltzmann
from esen.recipe.model import Backend


def structure_of(atoms: Atoms) -> Structure:
    return Structure(
        np.array(atoms.numbers, dtype=np.int64),
        np.array(atoms.positions, dtype=np.float64),
        np.array(atoms.cell.array, dtype=np.float64),
        np.array(atoms.pbc, dtype=np.bool_),
    )


def start_of(atoms: Atoms, kelvin: float = 300.0, seed: int = 0) -> Start:
    structure = structure_of(atoms)
    amu = masses_of(structure)
    return Start(structure, amu, maxwell_boltzmann(amu, kelvin, seed))


def rattled(atoms: Atoms, by: float = 0.05, seed: int = 1) -> Atoms:
    atoms.rattle(by, seed=seed)
    return atoms


def shapes() -> dict[str, Atoms]:
    """Every kind of system, of elements below 30."""
    wire = Atoms("Al3", [[0, 0, 0.1], [0.1, 0, 2.7], [0, 0.2, 5.2]], cell=[0, 0, 8], pbc=[False, False, True])
    return {
        "crystal": rattled(bulk("Al", a=4.05, cubic=True)),
        "smaller than the cutoff": rattled(bulk("Al", a=4.05)),
        "slab": rattled(fcc111("Al", (1, 1, 3), a=4.05, vacuum=None), 0.1),
        "wire": wire,
        "molecule": Atoms("AlOMgAl", [[0, 0, 0], [2.6, 0, 0.2], [1.2, 2.4, 0], [1.3, 0.8, 2.3]]),
        "two atoms": Atoms("AlO", [[0, 0, 0], [2.6, 0, 0]]),
        "one atom": Atoms("Al"),
        "one atom in a cell": Atoms("Al", cell=[2.9, 3.0, 3.1], pbc=True),
    }


def overlapping(apart: float) -> Atoms:
    """A crystal with two atoms so close to one another."""
    atoms = rattled(bulk("Al", a=4.05, cubic=True))
    atoms.positions[1] = atoms.positions[0] + [apart, 0, 0]
    return atoms


class FailsLater:
    """A potential whose answer for structures with more than `size` atoms is spoilt from some call on.

    Args:
        base: answers otherwise.
        call: the first that is spoilt; the first of all is 0, at step 0.
        size: larger structures are spoilt.
        spoilt: `forces`, `one force` or `energy`.
        last: the last call that is spoilt.
    """

    def __init__(
        self, base: Potential, call: int, size: int, spoilt: str = "forces", last: int = 10**9
    ) -> None:
        self.base, self.call, self.size, self.spoilt, self.last = base, call, size, spoilt, last
        self.cutoff = base.cutoff
        self.backend: Backend = "vesin"
        self.calls = 0

    def __call__(self, graph: Graph) -> Prediction:
        prediction = self.base(graph)
        self.calls += 1
        if not self.call <= self.calls - 1 <= self.last:
            return prediction
        large = torch.bincount(graph.structure, minlength=graph.num_structures) > self.size
        if self.spoilt == "energy":
            return replace(prediction, energy=prediction.energy.masked_fill(large, torch.nan))
        atoms = large[graph.structure]
        if self.spoilt == "one force":
            atoms = atoms & (torch.cumsum(atoms.long(), 0) == 1)
        return replace(prediction, forces=prediction.forces.masked_fill(atoms[:, None], torch.nan))


def final(engine: Engine, system: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """All that there is of a system."""
    s = engine.snapshot(system)
    return s.positions, s.momenta, s.forces, s.energy


def same(a: Sequence[object], b: Sequence[object]) -> bool:
    """Whether all arrays have the same bits."""
    return all(np.array_equal(np.asarray(x), np.asarray(y)) for x, y in zip(a, b, strict=True))


def engine_of(potential: Potential, *atoms: Atoms, timestep_fs: float = 1.0) -> BatchNve:
    return BatchNve(potential, [start_of(a, seed=i) for i, a in enumerate(atoms)], timestep_fs)
