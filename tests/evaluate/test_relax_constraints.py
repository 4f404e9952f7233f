"""Relaxing with constraints of the structure."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.constraints import (
    FixAtoms,
    FixBondLength,
    FixCartesian,
    FixCom,
    FixedLine,
    FixedPlane,
    FixScaled,
    FixSymmetry,
    Hookean,
)
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE

from esen.data.atoms import from_atoms
from esen.data.constraints import ignored_constraints
from esen.data.structure import Structure
from esen.errors import InputError
from esen.evaluate.elastic import ElasticSpec, elastic_constants
from esen.evaluate.model import Model
from esen.evaluate.phonons.crystal import Crystal
from esen.evaluate.phonons.protocol import PROTOCOLS
from esen.evaluate.phonons.run import relaxed_crystal
from esen.evaluate.relax import RelaxSpec, relax
from esen.graph.types import Potential
from esen.md.calculator import AsePotential, EsenCalculator
from tests.toys import morse

pytestmark = pytest.mark.filterwarnings("ignore:Set OLD_ERROR:DeprecationWarning")  # of spglib

OBLIQUE = np.array([1.0, 2.0, 2.0]) / 3


def rattled(*constraints: Any, skewed: bool = False) -> Structure:
    atoms = bulk("Cu", a=3.6, cubic=not skewed) * (1 + skewed, 1, 1 + skewed)
    if skewed:
        tilt = np.array([[0, 0.2, 0], [0, 0, -0.1], [0.1, 0, 0]])
        atoms.set_cell(atoms.cell.array + tilt, scale_atoms=True)
    atoms.rattle(0.06, seed=2)
    atoms.set_constraint(constraints)
    return from_atoms(atoms, "rattled")


def slab(*constraints: Any) -> Structure:
    atoms = fcc111("Cu", (1, 1, 4), a=3.6, vacuum=6.0)
    atoms.rattle(0.05, seed=1)
    atoms.set_constraint(constraints)
    return from_atoms(atoms, "slab")


def moves(start: Structure, end: Structure) -> np.ndarray:
    return end.positions - start.positions


def test_fixed_atoms_stay_to_the_last_bit_and_their_forces_do_not_count() -> None:
    start = slab(FixAtoms([0, -1]))
    found = relax(start, EMT(), RelaxSpec(fmax=1e-3))
    assert found.converged
    assert np.array_equal(found.structure.positions[[0, 3]], start.positions[[0, 3]])
    assert found.fmax < 1e-3 < np.abs(found.structure.forces).max()
    assert (found.fixed, found.frozen) == (2, False)
    assert found.structure.constraints == start.constraints


def test_single_directions_stay() -> None:
    start = slab(
        FixCartesian([1], mask=(True, False, True)), FixedPlane([2], OBLIQUE), FixedLine([3], OBLIQUE)
    )
    found = relax(start, EMT(), RelaxSpec(fmax=1e-3))
    assert found.converged
    moved = moves(start, found.structure)
    assert np.array_equal(moved[1, [0, 2]], [0, 0])
    assert abs(moved[1, 1]) > 1e-3
    assert abs(moved[2] @ OBLIQUE) < 1e-14
    assert np.abs(moved[2]).max() > 1e-3
    assert np.linalg.norm(moved[3] - OBLIQUE * (moved[3] @ OBLIQUE)) < 1e-14
    assert found.fixed == 3


@pytest.mark.parametrize("cell", [False, True])
def test_scaled_coordinates_stay_in_a_skewed_cell(cell: bool) -> None:
    start = rattled(FixScaled([1], mask=(True, False, True)), FixAtoms([0]), skewed=True)
    found = relax(start, EMT(), RelaxSpec(fmax=1e-3, cell=cell))
    assert found.converged
    before, after = (np.linalg.solve(s.cell.T, s.positions.T).T for s in (start, found.structure))
    np.testing.assert_allclose(after[1, [0, 2]], before[1, [0, 2]], atol=1e-13)
    np.testing.assert_allclose(after[0], before[0], atol=1e-13)
    assert abs(after[1, 1] - before[1, 1]) > 1e-3
    # Along the only free direction nothing is left; along the others there is.
    assert found.structure.forces is not None
    free = start.cell[1] if not cell else found.structure.cell[1]
    assert abs(found.structure.forces[1] @ free) / np.linalg.norm(free) < 1e-3
    assert np.abs(found.structure.forces[1]).max() > 1e-3


def test_a_moving_cell_is_that_of_ase() -> None:
    start = rattled(FixAtoms([0, 2]))
    found = relax(start, EMT(), RelaxSpec(fmax=0.02))
    atoms = Atoms(start.numbers, start.positions, cell=start.cell, pbc=True, constraint=FixAtoms([0, 2]))
    atoms.calc = EMT()
    optimizer = FIRE(FrechetCellFilter(atoms), logfile=None)
    optimizer.run(fmax=0.02, steps=500)
    assert found.converged
    assert found.steps == optimizer.nsteps
    np.testing.assert_allclose(found.structure.positions, atoms.positions, atol=1e-9)
    np.testing.assert_allclose(found.structure.cell, atoms.cell.array, atol=1e-9)


def test_batches_and_calculators_agree() -> None:
    potential = morse()
    starts = [slab(FixAtoms([0])), slab(FixScaled([1], mask=(0, 0, 1))), slab(), rattled(FixAtoms([0]))]
    spec = RelaxSpec(fmax=1e-3, steps=12)
    alone = [relax(start, EsenCalculator(potential), spec) for start in starts]

    def procedure(start: Structure) -> Any:
        return lambda calculator: relax(start, calculator, spec)

    model = Model(potential, EsenCalculator(potential), as_calculator=EsenCalculator)
    together = model.run_all([procedure(start) for start in starts], [len(start) for start in starts])
    for one, other in zip(alone, together, strict=True):
        assert not isinstance(other, Exception)
        assert np.array_equal(one.structure.positions, other.structure.positions)
        assert (one.steps, one.fixed) == (other.steps, other.fixed)


def test_symmetry_and_fixed_atoms_go_together() -> None:
    start = rattled(FixAtoms([0]))
    ideal = replace(start, positions=np.round(start.positions / 1.8) * 1.8 + 2e-5 * np.eye(4)[:, :3])
    found = relax(ideal, EMT(), RelaxSpec(cell=False, keep_symmetry=True))
    assert np.array_equal(found.structure.positions[0], ideal.positions[0])
    assert found.groups == (225, 225)


def test_rules_for_several_atoms_are_kept_with_a_fixed_cell() -> None:
    water = molecule("H2O")
    water.set_constraint([FixBondLength(0, 1), FixCom()])
    water.rattle(0.05, seed=1)
    found = relax(from_atoms(water, "water"), EMT(), RelaxSpec(fmax=0.01))
    assert found.converged
    before, after = (np.linalg.norm(p[0] - p[1]) for p in (water.positions, found.structure.positions))
    assert after == pytest.approx(before, abs=1e-6)
    assert np.linalg.norm(found.structure.positions[0] - found.structure.positions[2]) != pytest.approx(
        before, 1e-3
    )


def test_springs_act_but_are_not_of_the_energy() -> None:
    start = from_atoms(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.6]], constraint=Hookean(0, 1, 1000.0, 2.0)), "dimer")
    found = relax(start, EMT(), RelaxSpec(fmax=1e-3))
    assert found.converged
    assert moves(start, found.structure)[1, 2] < -0.2
    atoms = Atoms("Cu2", found.structure.positions)
    atoms.calc = EMT()
    assert found.structure.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-12)


def test_rules_that_a_moving_cell_would_break_are_named() -> None:
    with pytest.raises(
        InputError, match=r"rattled: FixBondLengths cannot be kept while the cell moves.*--no-cell"
    ):
        relax(rattled(FixBondLength(0, 1)), EMT(), RelaxSpec())
    atoms = bulk("Cu", a=3.7, cubic=True)
    atoms.set_constraint(FixSymmetry(atoms))
    assert relax(from_atoms(atoms, "cu"), EMT(), RelaxSpec()).groups == (225, 225)


def test_nothing_can_move() -> None:
    start = slab(FixAtoms([0, 1]), FixCartesian([2, 3], mask=(True, True, True)))
    found = relax(start, EMT(), RelaxSpec())
    assert (found.frozen, found.steps, found.displacement, found.fmax) == (True, 0, 0.0, 0.0)
    assert np.array_equal(found.structure.positions, start.positions)
    lattice = relax(rattled(FixAtoms(range(4))), EMT(), RelaxSpec())
    assert not lattice.frozen
    assert lattice.volume_ratio != 1.0


def test_elastic_constants_with_fixed_atoms_are_those_without_relaxation() -> None:
    calculator = EMT()
    model = Model(AsePotential(calculator), calculator)
    spec = ElasticSpec(relax=RelaxSpec(fmax=1e-4, cell=False), strains=(0.005,))
    start = rattled(FixAtoms(range(4)))
    found = elastic_constants(start, model, spec)
    assert found.energy_difference < 0.05  # the stress is the derivative of the energy of the held crystal
    relaxed = elastic_constants(replace(start, constraints=()), model, spec)
    assert np.array_equal(found.reference.structure.positions, start.positions)
    assert np.abs(found.stiffness.matrix - relaxed.stiffness.matrix).max() > 1
    with pytest.raises(InputError, match="FixBondLengths"):
        elastic_constants(replace(start, constraints=(FixBondLength(0, 1),)), model, spec)


def test_phonons_relax_all_atoms_and_say_so() -> None:
    start = rattled(FixAtoms([0]))
    crystal = Crystal("cu", start, np.eye(3, dtype=np.int64), np.eye(3))
    for protocol in (PROTOCOLS["tight"], PROTOCOLS["mdr-fair"]):
        found, relaxed = relaxed_crystal(crystal, EMT(), replace(protocol, fmax=0.02, keep_symmetry=False))
        assert relaxed.fixed == 0
        assert "FixAtoms" in ignored_constraints(found.unitcell)[0]
    assert ignored_constraints(rattled()) == ()


def test_a_potential_is_not_asked_about_constraints() -> None:
    potential: Potential = AsePotential(EMT())
    start = slab(FixAtoms([0]))
    forces = Model(potential, EMT()).forces([start, replace(start, constraints=())])
    assert np.array_equal(*forces)
