"""Forces and stress as derivatives of the energy of any network."""

from collections.abc import Callable

import torch
from jaxtyping import Float64
from torch import Tensor

from esen.graph.edges import edge_vectors
from esen.graph.types import Graph, Prediction

AtomicEnergies = Callable[[Graph, Tensor], Tensor]
"""A function of a graph and its edge vectors that returns the energy of every atom in eV, in float64."""


def conservative(energies_of: AtomicEnergies, graph: Graph, *, differentiable: bool) -> Prediction:
    """Return the energy, with forces and stress as its exact derivatives.

    The energy depends on positions and cell only through the edge vectors v = r_j + S·cell − r_i, so one backward pass,
    g = ∂E/∂v, is enough:

        F_i = Σ_{edges into i} g − Σ_{edges out of i} g,      σ = (1/V) sym Σ_edges v ⊗ g.

    The forces of a structure sum to zero, and σ is the derivative by the strain r → r(1 + ε), cell → cell(1 + ε).

    Args:
        energies_of: the energies of the atoms.
        graph: a batch.
        differentiable: whether the derivatives can be differentiated again, as training on forces needs.
    """
    with torch.enable_grad():
        vectors = edge_vectors(graph)
        if not vectors.requires_grad:
            vectors.requires_grad_()
        energies = energies_of(graph, vectors)
        (gradient,) = torch.autograd.grad(energies.sum(), vectors, create_graph=differentiable)
    if not differentiable:
        energies, vectors = energies.detach(), vectors.detach()
    return prediction_from_gradient(graph, vectors, energies, gradient)


def prediction_from_gradient(
    graph: Graph,
    vectors: Float64[Tensor, "E 3"],
    energies: Float64[Tensor, " N"],
    gradient: Float64[Tensor, "E 3"],
) -> Prediction:
    """Return the prediction for given energies of the atoms and g, by the equations of `conservative`."""
    energy = energies.new_zeros(graph.num_structures).index_add(0, graph.structure, energies)
    forces = gradient.new_zeros(graph.num_atoms, 3)
    forces = forces.index_add(0, graph.receiver, gradient).index_add(0, graph.sender, gradient, alpha=-1)
    virial = gradient.new_zeros(graph.num_structures, 3, 3).index_add(
        0, graph.structure[graph.receiver], vectors.unsqueeze(2) * gradient.unsqueeze(1)
    )
    return Prediction(energy, forces, stress_of(virial, graph), energies)


def stress_of(virial: Float64[Tensor, "B 3 3"], graph: Graph) -> Float64[Tensor, "B 3 3"]:
    """Return the symmetric part of the virial over the volume; zero unless all three directions are periodic."""
    volume = torch.linalg.det(graph.cell).abs()
    periodic = graph.pbc.all(dim=1)
    volume = torch.where(periodic, volume, torch.ones_like(volume))
    stress = (virial + virial.mT) / (2 * volume[:, None, None])
    return torch.where(periodic[:, None, None], stress, torch.zeros_like(stress))
