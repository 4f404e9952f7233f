import numpy as np
import pytest
import torch

from esen.evaluate.laws.jacobian import difference_jacobian, exact_jacobian
from esen.models.potential import EsenPotential
from tests.evaluate.laws.known import case_of, molecule
from tests.models.variants import potential_of, triclinic_crystal


def differentiable(variant: str) -> EsenPotential:
    from copy import deepcopy

    return deepcopy(potential_of(variant)).requires_grad_(False).train()


@pytest.mark.parametrize("variant", ["default", "direct"])
def test_both_ways_agree(variant: str) -> None:
    """Rows are forces, columns positions: for direct forces the two differ."""
    case = case_of(potential_of(variant), triclinic_crystal())
    atoms = np.array([0, 2])
    exact = exact_jacobian(case, differentiable(variant), atoms)
    differences = difference_jacobian(case, atoms)
    assert exact.matrix.shape == (6, 6)
    assert differences.error < 1e-6
    assert np.linalg.norm(exact.matrix - differences.matrix) < differences.error
    assert exact.error == 0.0
    asymmetry = np.linalg.norm(exact.matrix - exact.matrix.T)
    assert asymmetry > 1e-3 if variant == "direct" else asymmetry < 1e-12


def test_the_users_potential_is_as_it_was() -> None:
    potential = potential_of("default")
    before = {name: value.clone() for name, value in potential.state_dict().items()}
    exact_jacobian(case_of(potential, triclinic_crystal()), differentiable("default"), np.array([0]))
    assert not potential.training
    assert all(torch.equal(value, before[name]) for name, value in potential.state_dict().items())
    assert all(p.grad is None for p in potential.parameters())


def test_an_atom_without_neighbours_has_rows_of_zeros() -> None:
    far = molecule()
    far.positions[2] += 50.0
    numbers = np.array([8, 12, 26])
    structure = type(far)(numbers, far.positions, far.cell, far.pbc, source="far")
    case = case_of(potential_of("default"), structure)
    exact = exact_jacobian(case, differentiable("default"), np.arange(3))
    assert not exact.matrix[6:].any()
    assert exact.matrix[:6, :6].any()
