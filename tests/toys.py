"""Potentials with no network, whose answers are known: what the evaluations are tested on."""

from collections.abc import Callable

import torch
from jaxtyping import Float64
from torch import Tensor

from esen.errors import InputError
from esen.graph.edges import edge_vectors
from esen.graph.types import Graph, Prediction
from esen.recipe.model import Backend


class PairPotential:
    """E = ½ Σ_edges φ(r)·w(r), with w = (1 − (r/rc)²)³, so that two derivatives vanish at the cutoff.

    Args:
        pair: φ in eV of r in Å.
        cutoff: rc in Å.
        elements: the atomic numbers that it knows; any other is an `InputError`. None: all.
    """

    def __init__(
        self, pair: Callable[[Tensor], Tensor], cutoff: float, elements: frozenset[int] | None = None
    ) -> None:
        self.pair, self.cutoff, self.elements = pair, cutoff, elements
        self.backend: Backend = "vesin"
        self.calls = 0

    def __call__(self, graph: Graph) -> Prediction:
        self.calls += 1
        unknown = set(graph.numbers.tolist()) - self.elements if self.elements is not None else set()
        if unknown:
            raise InputError(f"the potential does not know element {min(unknown)}")
        positions = graph.positions.detach().requires_grad_()
        strain = torch.zeros(graph.num_structures, 3, 3, dtype=torch.float64).requires_grad_()
        energies = self._energies(graph, positions, strain)
        energy = torch.zeros(graph.num_structures, dtype=torch.float64).index_add(
            0, graph.structure, energies
        )
        gradient, virial = torch.autograd.grad(energy.sum() + 0 * positions.sum(), (positions, strain))
        volume = torch.linalg.det(graph.cell).abs()[:, None, None]
        stress = torch.where(volume > 0, virial / volume.where(volume > 0, torch.ones(())), torch.nan)
        return Prediction(energy.detach(), -gradient, stress, energies.detach(), virial)

    def _energies(self, graph: Graph, positions: Tensor, strain: Tensor) -> Float64[Tensor, " N"]:
        symmetric = (strain + strain.mT) / 2
        moved = Graph(
            numbers=graph.numbers,
            positions=positions + (positions.unsqueeze(1) @ symmetric[graph.structure]).squeeze(1),
            cell=graph.cell + graph.cell @ symmetric,
            pbc=graph.pbc,
            structure=graph.structure,
            sender=graph.sender,
            receiver=graph.receiver,
            shift=graph.shift,
        )
        r = torch.linalg.vector_norm(edge_vectors(moved), dim=-1)
        terms = 0.5 * self.pair(r) * (1 - (r / self.cutoff).clamp(max=1) ** 2) ** 3
        return torch.zeros(graph.num_atoms, dtype=torch.float64).index_add(0, graph.receiver, terms)


def lennard_jones(epsilon: float = 0.01, sigma: float = 2.5, cutoff: float = 6.0) -> PairPotential:
    """φ = 4ε((σ/r)¹² − (σ/r)⁶)."""
    return PairPotential(lambda r: 4 * epsilon * ((sigma / r) ** 12 - (sigma / r) ** 6), cutoff)


def morse(
    depth: float = 0.4,
    stiffness: float = 1.4,
    distance: float = 2.8,
    cutoff: float = 5.0,
    elements: frozenset[int] | None = None,
) -> PairPotential:
    """φ = D((1 − exp(−a(r − r₀)))² − 1)."""
    return PairPotential(
        lambda r: depth * ((1 - torch.exp(-stiffness * (r - distance))) ** 2 - 1), cutoff, elements
    )
