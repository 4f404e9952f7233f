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

    The forces of a structure sum to zero, and σ is the derivative by the strain r → r(1 + ε), cell → cell(1 + ε). The
    virial V σ needs no volume.

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
    volume = graph.volume[:, None, None]
    twice = virial + virial.mT
    stress = torch.where(volume > 0, twice / (2 * torch.where(volume > 0, volume, 1.0)), torch.nan)
    return Prediction(energy, forces, stress, energies, twice / 2)
