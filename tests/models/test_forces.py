"""Forces and stress of an energy with known derivatives, and of the network."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from esen.data.structure import Structure
from esen.graph.batch import make_graph
from esen.graph.edges import edge_vectors
from esen.graph.types import Graph
from esen.models.forces import conservative, prediction_from_gradient
from esen.models.potential import make_potential
from tests.models.variants import VARIANTS, chiral_molecule, isolated, potential_of, triclinic_crystal


def springs(graph: Graph, vectors: Tensor) -> Tensor:
    """Return ½ Z_i Σ d² over the edges of each atom; the two directions of an edge differ, as in a network."""
    stiffness = graph.numbers[graph.receiver].double()
    energies = 0.5 * stiffness * vectors.square().sum(dim=1)
    return torch.zeros(graph.num_atoms, dtype=torch.float64).index_add(0, graph.receiver, energies)


def test_springs() -> None:
    """E = ½ (Z_1 + Z_2) d², so that F_1 = (Z_1 + Z_2)(r_2 − r_1)."""
    positions = np.array([[0.1, 0.2, 0.3], [1.0, -0.5, 0.7]])
    prediction = conservative(springs, make_graph(isolated([3, 5], positions), 4.0), differentiable=False)
    bond = torch.from_numpy(positions[1] - positions[0])
    squared = float(bond @ bond)
    assert prediction.energies.tolist() == pytest.approx([1.5 * squared, 2.5 * squared])
    assert prediction.energy.tolist() == pytest.approx([4.0 * squared])
    assert torch.allclose(prediction.forces, torch.stack([8.0 * bond, -8.0 * bond]), rtol=0, atol=1e-14)
    assert torch.allclose(prediction.virial[0], 8.0 * torch.outer(bond, bond), rtol=0, atol=1e-14)
    assert prediction.stress.isnan().all()  # no volume


def test_stress_of_springs() -> None:
    """One atom with six images at ±a, ±b, ±c: V σ = Z (aa + bb + cc), whatever the hand of the cell."""
    cell = np.array([[0, 2.0, 0.1], [2.1, 0, 0], [0, 0.3, 2.2]])
    assert np.linalg.det(cell) < 0
    atom = Structure(np.array([3]), np.zeros((1, 3)), cell, np.ones(3, dtype=bool))
    graph = make_graph(atom, 2.3)
    assert graph.num_edges == 6
    prediction = conservative(springs, graph, differentiable=False)
    expected = 2 * 3 * cell.T @ cell / abs(np.linalg.det(cell))
    assert torch.allclose(prediction.stress[0], torch.from_numpy(expected), rtol=0, atol=1e-14)
    assert prediction.forces.abs().max() < 1e-14


def test_the_virial_needs_no_volume_and_the_stress_does() -> None:
    """W is symmetric; σ = W/V wherever the lattice vectors span a volume, periodic or not, and NaN elsewhere."""
    periods = torch.tensor(
        [[True, True, True], [True, True, False], [False, False, False], [False, False, False]]
    )
    cell = torch.diag(torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)).repeat(4, 1, 1)
    cell[2] = 0.0
    cell[3, 2] = cell[3, 0] + cell[3, 1]  # in one plane
    graph = replace(make_graph([triclinic_crystal()] * 4, 3.0), cell=cell, pbc=periods)
    first = torch.tensor([0.0, 2.0, 3.0], dtype=torch.float64).repeat(graph.num_edges, 1)
    gradient = torch.arange(3, dtype=torch.float64).repeat(graph.num_edges, 1)
    energies = torch.zeros(graph.num_atoms, dtype=torch.float64)
    found = prediction_from_gradient(graph, first, energies, gradient)
    edges = graph.num_edges / 4
    outer = torch.outer(first[0], gradient[0])
    expected = edges * (outer + outer.T) / 2
    torch.testing.assert_close(found.virial, expected.expand(4, 3, 3), rtol=1e-14, atol=0)
    torch.testing.assert_close(found.stress[:2], (expected / 8).expand(2, 3, 3), rtol=1e-14, atol=0)
    assert found.stress[2:].isnan().all()


@pytest.mark.parametrize("variant", ["default", "lmax 3, mmax 2", "no envelope"])
def test_forces_of_a_structure_sum_to_zero(variant: str) -> None:
    potential = potential_of(variant)
    graph = make_graph([chiral_molecule(), triclinic_crystal()], potential.cutoff)
    forces = potential(graph).forces
    sums = torch.zeros(2, 3, dtype=torch.float64).index_add(0, graph.structure, forces)
    assert sums.abs().max() < 1e-14
    assert forces.abs().max() > 1e-3


@pytest.mark.parametrize("variant", ["default", "lmax 3, mmax 2", "bessel", "no envelope"])
def test_hessian_is_symmetric(variant: str) -> None:
    """Conservative forces have a symmetric Jacobian, so that the work along a closed path vanishes."""
    potential = make_potential(VARIANTS[variant], seed=0).double()
    potential.load_state_dict(potential_of(variant).state_dict())
    potential.train()  # in which forces can be differentiated
    graph = make_graph(chiral_molecule(), potential.cutoff)
    positions = graph.positions.clone().requires_grad_()
    forces = potential(replace(graph, positions=positions)).forces.flatten()
    rows = [torch.autograd.grad(f, positions, retain_graph=True)[0].flatten() for f in forces]
    hessian = -torch.stack(rows)
    assert (hessian - hessian.T).abs().max() < 1e-10 * hessian.abs().max()
    assert hessian.view(5, 3, 5, 3).sum(dim=2).abs().max() < 1e-12  # all atoms moved alike
    step = 1e-4
    moved = [graph.positions + s * step * torch.eye(15, 3, dtype=torch.float64)[:5] for s in (-1, 1)]
    before, after = (potential(replace(graph, positions=p)).forces.flatten().detach() for p in moved)
    direction = torch.eye(15, 3, dtype=torch.float64)[:5].flatten()
    assert torch.allclose((before - after) / (2 * step), hessian @ direction, rtol=0, atol=1e-6)


def test_only_a_differentiable_prediction_carries_a_graph() -> None:
    graph = make_graph(triclinic_crystal(), 4.0)
    network = potential_of("default")
    plain = conservative(network.atomic_energies, graph, differentiable=False)
    kept = conservative(network.atomic_energies, graph, differentiable=True)
    for name in ("energy", "forces", "stress", "energies"):
        assert not getattr(plain, name).requires_grad
        assert getattr(kept, name).requires_grad
        # the derivative of SiLU is computed by another formula where it may be differentiated again
        assert torch.allclose(getattr(plain, name), getattr(kept, name).detach(), rtol=0, atol=1e-15)


def test_gradients_are_made_inside_no_grad_and_the_graph_is_left_alone() -> None:
    graph = make_graph(triclinic_crystal(), 4.0)
    positions, cell = graph.positions.clone(), graph.cell.clone()
    with torch.no_grad():
        inside = potential_of("default")(graph)
    assert torch.equal(inside.forces, potential_of("default")(graph).forces)
    assert torch.equal(graph.positions, positions)
    assert torch.equal(graph.cell, cell)
    assert not graph.positions.requires_grad
    assert not edge_vectors(graph).requires_grad
