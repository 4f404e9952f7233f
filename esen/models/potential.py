"""eSEN as a potential: the network, its scale, and the reference energies of the elements."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
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
from esen.models.compiled import CompiledNetwork
from esen.models.dens import Corruption, Denoised
from esen.models.direct import DirectHeads
from esen.models.forces import assembled, conservative
from esen.models.memory import memory_mode
from esen.models.so3 import VectorHead
from esen.recipe.model import Backend, DirectSpec, ModelSpec
from esen.recipe.train import MemoryMode

_EXACT = ("scale", "references", "offset", "direct.units", "direct.pressure")
"""Buffers that stay float64 whatever the network's precision."""


class EsenPotential(nn.Module):
    """E = Σ_i (scale · e_i + E0[Z_i]), e_i from the network; forces and stress by the recipe's choice.

    An imported potential may add a constant `offset` in eV to every structure's energy; ours is zero.

    Energies are summed in float64 whatever the network's precision, and the references are never rounded.

    Args:
        spec: the network.
        elements: atomic numbers that the potential may be asked about; None: all up to `max_elements`.

    Attributes:
        products: the precision of the products that make the features; None: that of the weights.
    """

    products: torch.dtype | None = None
    scale: Tensor
    references: Tensor
    offset: Tensor

    def __init__(self, spec: ModelSpec, elements: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.cutoff = spec.cutoff
        self.backend: Backend = spec.graph.backend
        self.elements = elements
        self._compiled: CompiledNetwork | None = None
        self.select_edges = make_edge_selection(spec.graph)
        self.network = EnergyNetwork(spec)
        self.direct = DirectHeads(spec, spec.forces) if isinstance(spec.forces, DirectSpec) else None
        self.noise = VectorHead(spec.sphere_channels) if spec.dens else None
        self.mean_energy = isinstance(spec.forces, DirectSpec) and spec.forces.energy == "mean"
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        self.register_buffer("references", torch.zeros(spec.max_elements, dtype=torch.float64))
        self.register_buffer("offset", torch.zeros((), dtype=torch.float64))

    def set_normalisation(self, scale: float, references: Float64[np.ndarray, " elements"]) -> None:
        """The unit of the network's energies in eV, and E0 of each element (by atomic number) in eV."""
        self.scale.fill_(scale)
        self.references.copy_(torch.from_numpy(np.asarray(references, dtype=np.float64)))

    def use_memory(self, mode: MemoryMode) -> Self:
        """Choose between speed and memory; the predictions are the same, bit by bit."""
        self.network.backbone.memory = memory_mode(mode)
        return self

    def use_products(self, dtype: torch.dtype | None) -> Self:
        """Make the features with products in another precision (bfloat16), from weights that stay what they are.

        Geometry, norms, sums over neighbours, the heads and all energies keep theirs. None: products do so too.
        """
        self.products = dtype
        return self._compile_anew()

    def use_compilation(self, on: bool) -> Self:
        """Compile what training differentiates (`compiled.py`), for this device, precision and choice of products.

        A prediction that is not to be differentiated is made as before.
        """
        backbone = self.network.backbone
        self._compiled = CompiledNetwork(self.atomic_energies, self.features, backbone) if on else None
        return self

    def _compile_anew(self) -> Self:
        """What was compiled holds the precision and the device that it had."""
        return self.use_compilation(self._compiled is not None)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move and cast as any module, but keep what `_EXACT` names in float64."""
        exact = {name: buffer for name, buffer in self.named_buffers() if name in _EXACT}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch's own
        for name, value in exact.items():
            module, _, buffer = name.rpartition(".")
            owner = self.get_submodule(module)
            setattr(owner, buffer, value.to(getattr(owner, buffer).device))
        return self._compile_anew()

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
        return self._in_ev(self.network.energies_of(self.features(graph, vectors)), graph)

    def features(
        self,
        graph: Graph,
        vectors: Float64[Tensor, "E 3"],
        shown: Float64[Tensor, "N 3"] | None = None,
    ) -> Float[Tensor, "N K C"]:
        """What all heads read, as `Backbone`, with products in the precision that was chosen for them."""
        with self._precision():
            features: Tensor = self.network.backbone(graph, vectors, shown)
        return features

    def _precision(self) -> AbstractContextManager[object]:
        """Entered for the network's forward pass alone; its derivatives follow the types that they find."""
        if self.products is None:
            return nullcontext()
        return torch.autocast(self.scale.device.type, dtype=self.products)

    def _compiled_for(self, graph: Graph) -> CompiledNetwork | None:
        """What is compiled, if this graph is a step of training and large enough for it."""
        if self._compiled is None or not self.training or not torch.is_grad_enabled():
            return None
        return self._compiled if self._compiled.takes(graph) else None

    def _in_ev(self, energies: Float[Tensor, " N"], graph: Graph) -> Float64[Tensor, " N"]:
        energies = energies.double() * self.scale
        if self.mean_energy:
            energies = energies / torch.bincount(graph.structure)[graph.structure]
        return energies + self.references[graph.numbers]

    def forward(self, graph: Graph) -> Prediction:
        """Energy, forces and stress. In training mode they can be differentiated by the weights.

        Raises:
            InputError: as `check_elements`.
        """
        if torch.is_inference_mode_enabled() and self.direct is None:
            with torch.inference_mode(False):  # in which nothing could be differentiated
                tensors = {f.name: getattr(graph, f.name).clone() for f in fields(graph)}
                return self.forward(replace(graph, **tensors))
        if not self.training:
            self.check_elements(graph)
        graph = self.select_edges(graph)
        if self.direct is None:
            prediction = self._conservatively(graph)
            return replace(prediction, energy=prediction.energy + self.offset)
        with torch.set_grad_enabled(self.training):
            vectors = edge_vectors(graph)
            return self._directly(self._any_features(graph, vectors), graph, vectors, self.direct)

    def _conservatively(self, graph: Graph) -> Prediction:
        compiled = self._compiled_for(graph)
        if compiled is None:
            return conservative(self.atomic_energies, graph, differentiable=self.training)
        vectors = edge_vectors(graph)
        return assembled(graph, vectors, *compiled.energies(graph, vectors))

    def _any_features(
        self,
        graph: Graph,
        vectors: Float64[Tensor, "E 3"],
        shown: Float64[Tensor, "N 3"] | None = None,
    ) -> Float[Tensor, "N K C"]:
        compiled = self._compiled_for(graph)
        return (self if compiled is None else compiled).features(graph, vectors, shown)

    def denoise(self, graph: Graph, corruption: Corruption) -> Denoised:
        """What the network says of displaced atoms, shown the forces that they had before.

        Args:
            graph: with displaced positions, and the edges of these.
            corruption: the forces before, and which atoms were displaced.

        Raises:
            ValueError: the recipe has no parts for it (`model.dens`).
        """
        if self.noise is None:
            raise ValueError("a potential whose recipe says dens: false cannot denoise")
        graph = self.select_edges(graph)
        with torch.set_grad_enabled(self.training):
            vectors = edge_vectors(graph)
            x = self._any_features(graph, vectors, corruption.shown())
            before = None if self.direct is None else self._directly(x, graph, vectors, self.direct)
            return Denoised(noise=self.noise(x).double(), prediction=before)

    def _directly(
        self, x: Float[Tensor, "N K C"], graph: Graph, vectors: Float64[Tensor, "E 3"], heads: DirectHeads
    ) -> Prediction:
        energies = self._in_ev(self.network.energies_of(x), graph)
        forces, stress = heads(x, graph, vectors, self.scale)
        energy = energies.new_zeros(graph.num_structures).index_add(0, graph.structure, energies)
        return Prediction(energy=energy + self.offset, forces=forces, stress=stress, energies=energies)

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
