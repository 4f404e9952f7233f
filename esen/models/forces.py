"""Forces and stress from an energy: they wrap an energy network and know nothing of its inside."""

from collections.abc import Callable

import torch
from jaxtyping import Float64
from torch import Tensor

from esen.graph.edges import edge_vectors
from esen.graph.types import Graph, Prediction

AtomicEnergies = Callable[[Graph, Tensor], Tensor]
"""From a graph and its edge vectors to the energy of every atom in eV, float64."""


def conservative(energies_of: AtomicEnergies, graph: Graph, *, differentiable: bool) -> Prediction:
    """Energy, and forces and stress as its exact derivatives.

    The energy depends on positions and cell through the edge vectors v = r_j + S·cell − r_i alone, so that with
    g = ∂E/∂v one backward pass gives everything:

        F_i = Σ_{edges into i} g − Σ_{edges out of i} g,      σ = (1/V) sym Σ_edges v ⊗ g.

    The forces of a structure sum to zero, and σ is the derivative by the strain r → r(1 + ε), cell → cell(1 + ε).

    Args:
        energies_of: the network.
        graph: a batch.
        differentiable: keep the derivatives differentiable, as training on forces needs.
    """
    with torch.enable_grad():
        vectors = edge_vectors(graph)
        if not vectors.requires_grad:
            vectors.requires_grad_()
        energies = energies_of(graph, vectors)
        (gradient,) = torch.autograd.grad(energies.sum(), vectors, create_graph=differentiable)
    if not differentiable:
        energies, vectors = energies.detach(), vectors.detach()
    return assembled(graph, vectors, energies, gradient)


def assembled(
    graph: Graph,
    vectors: Float64[Tensor, "E 3"],
    energies: Float64[Tensor, " N"],
    gradient: Float64[Tensor, "E 3"],
) -> Prediction:
    """The prediction that follows from energies of atoms and g, as `conservative` says."""
    energy = energies.new_zeros(graph.num_structures).index_add(0, graph.structure, energies)
    forces = gradient.new_zeros(graph.num_atoms, 3)
    forces = forces.index_add(0, graph.receiver, gradient).index_add(0, graph.sender, gradient, alpha=-1)
    virial = gradient.new_zeros(graph.num_structures, 3, 3).index_add(
        0, graph.structure[graph.receiver], vectors.unsqueeze(2) * gradient.unsqueeze(1)
    )
    return Prediction(energy, forces, stress_of(virial, graph), energies)


def stress_of(virial: Float64[Tensor, "B 3 3"], graph: Graph) -> Float64[Tensor, "B 3 3"]:
    """The symmetric part of the virial over the volume; zero where not all three directions are periodic."""
    volume = torch.linalg.det(graph.cell).abs()
    periodic = graph.pbc.all(dim=1)
    volume = torch.where(periodic, volume, torch.ones_like(volume))
    stress = (virial + virial.mT) / (2 * volume[:, None, None])
    return torch.where(periodic[:, None, None], stress, torch.zeros_like(stress))
