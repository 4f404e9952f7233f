"""Force constants by displacements and by second derivatives."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from phonopy import Phonopy

from esen.data.structure import Structure
from esen.errors import InputError
from esen.evaluate.phonons.crystal import Crystal, from_phonopy, make_phonopy
from esen.evaluate.phonons.force_constants import by_displacements, by_hessian, hessian_rows
from esen.evaluate.phonons.properties import frequencies_at
from esen.evaluate.phonons.run import Model
from esen.graph.types import Potential
from esen.models.potential import EsenPotential
from tests.evaluate.phonons.crystals import STILL, copper, crystal_of, emt
from tests.models.variants import VARIANTS, potential_of, triclinic_crystal


def differentiable(potential: EsenPotential) -> Potential:
    return deepcopy(potential).requires_grad_(False).train()


def displaced(crystal: Crystal, model: Model, displacement: float) -> np.ndarray:
    phonons = make_phonopy(crystal, 1e-5)
    by_displacements(phonons, replace(STILL, displacement=displacement), model.forces)
    return np.array(phonons.force_constants)


def exact(crystal: Crystal) -> Phonopy:
    phonons = make_phonopy(crystal, 1e-5)
    by_hessian(phonons, differentiable(potential_of("default")), "cpu")
    return phonons


@pytest.fixture(scope="module")
def oxide() -> tuple[Crystal, Phonopy]:
    crystal = crystal_of(bulk("MgO", "rocksalt", a=4.2, cubic=True))  # narrower than twice the cutoff: images
    return crystal, exact(crystal)


def triclinic() -> Crystal:
    return Crystal("triclinic", triclinic_crystal(), np.diag([1, 1, 1]), np.eye(3))


def assert_is_the_limit(crystal: Crystal, found: np.ndarray) -> None:
    model = Model(potential_of("default"), None)
    d = 0.01
    limit = (4 * displaced(crystal, model, d / 2) - displaced(crystal, model, d)) / 3
    assert found.shape == limit.shape
    assert np.abs(found - limit).max() < 1e-5 * np.abs(limit).max()


def test_exact_ones_are_the_limit_of_displacements(oxide: tuple[Crystal, Phonopy]) -> None:
    crystal, phonons = oxide
    assert_is_the_limit(crystal, np.array(phonons.force_constants))


def test_also_without_any_symmetry() -> None:
    crystal = triclinic()
    assert_is_the_limit(crystal, np.array(exact(crystal).force_constants))


def test_exact_ones_obey_the_sum_rule_and_the_crystal(oxide: tuple[Crystal, Phonopy]) -> None:
    _, phonons = oxide
    constants = np.array(phonons.force_constants)
    assert np.abs(constants.sum(axis=1)).max() < 1e-8
    q = np.array([[0.1, 0.2, 0.3], [0.2, 0.1, 0.3], [0.3, 0.2, 0.1], [-0.1, -0.2, -0.3]])
    frequencies = frequencies_at(phonons, q)  # equivalent points of a cubic crystal
    np.testing.assert_allclose(frequencies[1:], np.broadcast_to(frequencies[0], (3, 6)), atol=1e-6)


def test_rows_are_derivatives_of_forces() -> None:
    potential = potential_of("default")
    structure = triclinic_crystal()
    rows = hessian_rows(differentiable(potential), structure, [2], "cpu")
    step = 1e-4
    ends = []
    for sign in (1, -1):
        moved = structure.positions.copy()
        moved[0, 1] += sign * step
        ends.append(Model(potential, None).forces([replace(structure, positions=moved)])[0][2])
    np.testing.assert_allclose(rows[0, 0, :, 1], -(ends[0] - ends[1]) / (2 * step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [*VARIANTS, "nearest", "grid 6", "grid along edges"])
def test_rows_together_are_rows_one_by_one(name: str) -> None:
    potential, structure = differentiable(potential_of(name)), triclinic_crystal()
    together = hessian_rows(potential, structure, [0, 2], "cpu")
    single = hessian_rows(potential, structure, [0, 2], "cpu", batch_atoms=1)
    np.testing.assert_allclose(together, single, rtol=1e-10, atol=1e-12 * np.abs(single).max())
    some = hessian_rows(potential, structure, [0, 2], "cpu", batch_atoms=4 * len(structure))
    np.testing.assert_allclose(some, single, rtol=1e-10, atol=1e-12 * np.abs(single).max())


def test_displacements_are_those_of_phonopy_itself() -> None:
    found = displaced(copper(), emt(), 0.01)
    direct = make_phonopy(copper(), 1e-5)
    direct.generate_displacements(distance=0.01)
    model, cells = emt(), direct.supercells_with_displacements or []
    forces = []
    for cell in cells:
        atoms = Atoms(cell.symbols, cell.positions, cell=cell.cell, pbc=True, calculator=model.calculator)
        forces.append(atoms.get_forces())
    direct.forces = np.array(forces)
    direct.produce_force_constants(calculate_full_force_constants=False)
    direct.symmetrize_force_constants(show_drift=False)
    np.testing.assert_allclose(found, direct.force_constants, atol=1e-10)


def test_mean_forces_may_be_taken_out() -> None:
    def pushed(structures: list[Structure]) -> list[np.ndarray]:
        return [forces + 0.3 for forces in emt().forces(structures)]

    constants = []
    for forces_of in (emt().forces, pushed):
        phonons = make_phonopy(copper(), 1e-5)
        by_displacements(phonons, replace(STILL, subtract_mean=True), forces_of)
        constants.append(np.array(phonons.force_constants))
    np.testing.assert_allclose(*constants, atol=1e-9)


def test_forces_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InputError, match=r"displacement 1: .*not finite"):
        by_displacements(
            make_phonopy(copper(), 1e-5), STILL, lambda all_of: [np.full((len(s), 3), np.nan) for s in all_of]
        )


def test_supercells_are_structures() -> None:
    supercell = from_phonopy(make_phonopy(copper(), 1e-5).supercell, "supercell")
    assert len(supercell) == 32
    assert supercell.pbc.all()
