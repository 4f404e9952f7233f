"""eSEN as a potential: the network, its scale, and the reference energies of the elements."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from ase.data import chemical_symbols
from jaxtyping import Float, Float64
from torch import Tensor, nn

from esen.errors import InputError
from esen.graph.edges import edge_vectors, make_edge_selection
from esen.graph.types import Graph, Prediction
from esen.models.backbone import EnergyNetwork
from esen.models.direct import DirectHeads
from esen.models.forces import conservative
from esen.recipe.model import DirectSpec, ModelSpec


class EsenPotential(nn.Module):
    """E = Σ_i (scale · e_i + E0[Z_i]), e_i from the network; forces and stress by the recipe's choice.

    Energies are summed in float64 whatever the network's precision, and the references are never rounded.

    Args:
        spec: the network.
        elements: atomic numbers that the potential may be asked about; None: all up to `max_elements`.
    """

    scale: Tensor
    references: Tensor

    def __init__(self, spec: ModelSpec, elements: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.cutoff = spec.cutoff
        self.elements = elements
        self.select_edges = make_edge_selection(spec.graph)
        self.network = EnergyNetwork(spec)
        self.direct = DirectHeads(spec) if isinstance(spec.forces, DirectSpec) else None
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        self.register_buffer("references", torch.zeros(spec.max_elements, dtype=torch.float64))

    def set_normalisation(self, scale: float, references: Float64[np.ndarray, " elements"]) -> None:
        """The unit of the network's energies in eV, and E0 of each element (by atomic number) in eV."""
        self.scale.fill_(scale)
        self.references.copy_(torch.from_numpy(np.asarray(references, dtype=np.float64)))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move and cast as any module, but keep scale and references in float64."""
        exact = {name: getattr(self, name) for name in ("scale", "references")}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch's own
        for name, value in exact.items():
            setattr(self, name, value.to(getattr(self, name).device))
        return self

    def check_elements(self, graph: Graph) -> None:
        """Refuse species that the potential was never shown.

        Raises:
            InputError: naming them.
        """
        known = set(self.elements) if self.elements is not None else set(range(1, self.spec.max_elements))
        unknown = sorted(set(graph.numbers.unique().tolist()) - known)
        if unknown:
            names = ", ".join(chemical_symbols[z] for z in unknown)
            trained = ", ".join(chemical_symbols[z] for z in sorted(known)[:12])
            raise InputError(
                f"this potential does not know {names}; it knows {trained}{', …' if len(known) > 12 else ''}"
            )

    def atomic_energies(self, graph: Graph, vectors: Float64[Tensor, "E 3"]) -> Float64[Tensor, " N"]:
        """Energy of every atom in eV."""
        return self._in_ev(self.network(graph, vectors), graph)

    def _in_ev(self, energies: Float[Tensor, " N"], graph: Graph) -> Float64[Tensor, " N"]:
        return energies.double() * self.scale + self.references[graph.numbers]

    def forward(self, graph: Graph) -> Prediction:
        """Energy, forces and stress. In training mode they can be differentiated by the weights.

        Raises:
            InputError: as `check_elements`.
        """
        if not self.training:
            self.check_elements(graph)
        graph = self.select_edges(graph)
        if self.direct is None:
            return conservative(self.atomic_energies, graph, differentiable=self.training)
        with torch.set_grad_enabled(self.training):
            return self._directly(graph, self.direct)

    def _directly(self, graph: Graph, heads: DirectHeads) -> Prediction:
        vectors = edge_vectors(graph)
        x = self.network.backbone(graph, vectors)
        energies = self._in_ev(self.network.energies_of(x), graph)
        forces, stress = heads(x, graph, vectors)
        return Prediction(
            energy=energies.new_zeros(graph.num_structures).index_add(0, graph.structure, energies),
            forces=forces.double() * self.scale,
            stress=stress.double() * self.scale,
            energies=energies,
        )

    def __call__(self, graph: Graph) -> Prediction:
        """As `Potential` asks."""
        prediction: Any = super().__call__(graph)
        assert isinstance(prediction, Prediction)
        return prediction


def make_potential(spec: ModelSpec, *, seed: int, elements: tuple[int, ...] | None = None) -> EsenPotential:
    """A new potential with random weights drawn from the seed, the same on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return EsenPotential(spec, elements)
