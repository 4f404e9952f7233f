"""The toys themselves: their forces and stress are derivatives of their energy."""

from dataclasses import replace

import numpy as np
import pytest

from esen.data.structure import Structure
from esen.graph.batch import make_graph
from tests.toys import PairPotential, lennard_jones, morse

STEP = 1e-5


def energy(potential: PairPotential, structure: Structure) -> float:
    return float(potential(make_graph(structure, potential.cutoff)).energy[0])


@pytest.mark.parametrize("potential", [lennard_jones(), morse()])
def test_derivatives(potential: PairPotential) -> None:
    generator = np.random.default_rng(1)
    structure = Structure(
        numbers=np.array([12, 8, 8]),
        positions=np.array([[0.0, 0, 0], [2.4, 0.1, 0.2], [0.3, 2.6, 2.2]]),
        cell=np.diag([4.6, 5.0, 5.2]) + generator.normal(0, 0.2, (3, 3)),
        pbc=np.array([True, True, True]),
    )
    exact = potential(make_graph(structure, potential.cutoff))
    assert float(exact.energies.sum()) == pytest.approx(float(exact.energy[0]))
    for atom, axis in [(0, 0), (2, 1)]:
        ends = []
        for sign in (1, -1):
            moved = structure.positions.copy()
            moved[atom, axis] += sign * STEP
            ends.append(energy(potential, replace(structure, positions=moved)))
        assert float(exact.forces[atom, axis]) == pytest.approx(-(ends[0] - ends[1]) / (2 * STEP), rel=1e-6)
    for row, column in [(0, 0), (0, 1)]:
        ends = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[row, column] += sign * STEP / 2
            strain[column, row] += sign * STEP / 2
            deformed = replace(
                structure, cell=structure.cell @ strain, positions=structure.positions @ strain
            )
            ends.append(energy(potential, deformed))
        stress = (ends[0] - ends[1]) / (2 * STEP) / structure.volume
        assert float(exact.stress[0, row, column]) == pytest.approx(stress, rel=1e-5)
