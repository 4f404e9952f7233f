from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from esen.evaluate.laws.curl import curl, difference_jacobian, exact_jacobian
from esen.evaluate.laws.quantities import Noise
from esen.models.potential import EsenPotential
from tests.evaluate.laws.known import case_of, crystal, molecule, only, single_atom, smooth, swirling
from tests.models.variants import chiral_molecule, potential_of, triclinic_crystal
from tests.toys import PairPotential


@pytest.mark.parametrize("strength", [1e-4, 0.3])
def test_the_curl_of_a_swirl_is_known(strength: float) -> None:
    """J = H + ε A with A_xy = −1, A_yx = 1 for each atom: λ = ε √(2n) / √(‖H‖² + 2n ε²)."""
    hessian = np.linalg.norm(difference_jacobian(case_of(smooth(), molecule()), np.arange(3)).matrix)
    expected = strength * np.sqrt(6) / np.sqrt(hessian**2 + 6 * strength**2)
    finding = only(curl(case_of(swirling(strength), molecule())), "curl")
    assert finding.verdict == "fail"
    assert finding.value == pytest.approx(expected, rel=1e-5)
    assert "finite differences" in finding.says


def test_a_gradient_has_none() -> None:
    for structure in (crystal(), molecule()):
        finding = only(curl(case_of(smooth(), structure)), "curl")
        assert finding.verdict == "pass"
        assert finding.tolerance < 1e-6


def test_where_nothing_can_be_said() -> None:
    alone = only(curl(case_of(smooth(), single_atom(periodic=True))), "curl")
    assert alone.verdict == "not applicable"
    far = molecule()
    far.positions[:] *= 10
    apart = only(curl(case_of(smooth(), far)), "curl")
    assert apart.verdict == "not applicable"
    assert "do not change" in apart.says


def test_the_tolerance_is_five_times_the_error_of_the_jacobian() -> None:
    """A pair potential that wiggles has a Jacobian with an error that is no rounding; λ itself is 0."""
    wiggly = PairPotential(lambda r: 0.01 * torch.sin(40 * r), 5.0)
    case = replace(case_of(wiggly, molecule()), noise=Noise())
    jacobian = difference_jacobian(case, np.arange(3))
    finding = only(curl(case), "curl")
    assert finding.tolerance == pytest.approx(5 * jacobian.error / np.linalg.norm(jacobian.matrix))
    assert 1e-7 < finding.tolerance < 1e-6


def test_the_tolerance_of_an_exact_jacobian_is_that_of_rounding_or_noise() -> None:
    """λ has no dimension: noise counts by the largest force, up to a thousandth of it."""
    potential = potential_of("one layer")
    differentiable = deepcopy(potential).requires_grad_(False).train()
    case = case_of(potential, chiral_molecule(), differentiable=differentiable)
    for noise, tolerance in ((0.0, 1e-9), (1e-7, 1e-5), (1e-3, 1e-3)):
        noisy = replace(case, noise=Noise(forces=noise * case.size))
        assert only(curl(noisy), "curl").tolerance == pytest.approx(tolerance)


@pytest.mark.parametrize(("strength", "verdict"), [(1e-4, "pass"), (1e-3, "fail")])
def test_a_small_curl_may_be_noise_a_larger_one_is_not(strength: float, verdict: str) -> None:
    """λ = 2e-4 and 2e-3, where noise of 1e-5 of the forces allows 1e-3."""
    case = case_of(swirling(strength), molecule())
    assert only(curl(case), "curl").verdict == "fail"
    noisy = replace(case, noise=Noise(forces=1e-5 * case.size))
    assert only(curl(noisy), "curl").verdict == verdict


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
