"""The eSEN potential: the network, its energy scale, and the reference energies of the elements."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from ase.data import chemical_symbols
from jaxtyping import Float, Float64
from torch import Tensor, nn

from esen.errors import InputError
from esen.graph.edges import count_of, edge_vectors, make_edge_selection
from esen.graph.types import Graph, Prediction
from esen.models.backbone import EnergyNetwork
from esen.models.compiled import CompiledNetwork
from esen.models.dens import Corruption, Denoised
from esen.models.direct import DirectHeads
from esen.models.forces import conservative, prediction_from_gradient
from esen.models.memory import memory_mode
from esen.models.so3 import VectorHead
from esen.recipe.model import Backend, DirectSpec, ModelSpec
from esen.recipe.train import MemoryMode

_EXACT = ("scale", "references", "offset", "direct.units", "direct.pressure")
"""Buffers that stay in float64, whatever the precision of the network."""


class EsenPotential(nn.Module):
    """E = Σ_i (scale · e_i + E0[Z_i]) with e_i from the network; forces and stress are conservative or direct.

    An imported potential may add a constant `offset` in eV to the energy of every structure; otherwise it is zero.
    Energies are summed in float64, whatever the precision of the network, and reference energies are never rounded.

    Args:
        spec: the network.
        elements: atomic numbers that the potential accepts; None for all up to `max_elements`.

    Attributes:
        products: precision of the matrix products of the backbone; None for that of the weights.
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
        self._checked: tuple[Tensor | None, object] = (None, None)
        self.select_edges = make_edge_selection(spec.graph)
        self.network = EnergyNetwork(spec)
        self.direct = DirectHeads(spec, spec.forces) if isinstance(spec.forces, DirectSpec) else None
        self.noise = VectorHead(spec.sphere_channels) if spec.dens else None
        self.mean_energy = isinstance(spec.forces, DirectSpec) and spec.forces.energy == "mean"
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        self.register_buffer("references", torch.zeros(spec.max_elements, dtype=torch.float64))
        self.register_buffer("offset", torch.zeros((), dtype=torch.float64))

    def set_normalisation(self, scale: float, references: Float64[np.ndarray, " elements"]) -> None:
        """Set the unit of the network's energies in eV, and E0 in eV of every element by atomic number."""
        self.scale.fill_(scale)
        self.references.copy_(torch.from_numpy(np.asarray(references, dtype=np.float64)))

    def use_memory(self, mode: MemoryMode) -> Self:
        """Choose between speed and memory (`chunks.py`); the predictions are bitwise identical.

        Raises:
            InputError: there is no such mode.
        """
        self.network.backbone.memory = memory_mode(mode)
        return self

    def seed_frames(self, *key: int) -> None:
        """Start the random rolls of `model.edge_frame: random` again from a seed of one or more numbers.

        Without this call the seed is 0. With `smooth` nothing is random and nothing happens.
        """
        if self.network.backbone.roll is not None:
            self.network.backbone.roll.seed(*key)

    @property
    def is_random(self) -> bool:
        """Whether two equal calls draw different edge frames."""
        return self.network.backbone.roll is not None

    def use_products(self, dtype: torch.dtype | None) -> Self:
        """Compute the matrix products of the backbone in another precision (bfloat16); None for that of the weights.

        Weights, geometry, norms, sums over neighbours, heads and energies keep their precision.
        """
        self.products = dtype
        return self._compile_again()

    def use_compilation(self, on: bool) -> Self:
        """Choose whether the network is compiled for training (`compiled.py`).

        Predictions that are not differentiated are always computed without compilation.

        Raises:
            InputError: the edge frames are random, and a compiled network would always have the same.
        """
        if on and self.is_random:
            raise InputError(
                "a potential with model.edge_frame: random cannot be compiled; write train.compile: false"
            )
        backbone = self.network.backbone
        self._compiled = CompiledNetwork(self.atomic_energies, self.features, backbone) if on else None
        return self

    def _compile_again(self) -> Self:
        """Discard compiled functions, which hold the precision and the device of their compilation."""
        return self.use_compilation(self._compiled is not None)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move and cast like any module, but keep the buffers of `_EXACT` in float64."""
        exact = {name: buffer for name, buffer in self.named_buffers() if name in _EXACT}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # of torch
        for name, value in exact.items():
            module, _, buffer = name.rpartition(".")
            owner = self.get_submodule(module)
            setattr(owner, buffer, value.to(getattr(owner, buffer).device))
        return self._compile_again()

    def check_elements(self, graph: Graph) -> None:
        """Check that the potential was trained on all elements of a graph.

        A tensor of atomic numbers that was checked by the last call is not checked again: on a GPU a check waits for
        all operations before it.

        Raises:
            InputError: it was not; the message names the elements.
        """
        state = (self.elements, None if graph.numbers.is_inference() else graph.numbers._version)
        if graph.numbers is self._checked[0] and state == self._checked[1]:
            return
        known = set(self.elements) if self.elements is not None else set(range(1, self.spec.max_elements))
        unknown = sorted(set(graph.numbers.unique().tolist()) - known)
        if unknown:
            names = ", ".join(chemical_symbols[z] for z in unknown)
            trained = ", ".join(chemical_symbols[z] for z in sorted(known)[:12])
            raise InputError(
                f"this potential does not know {names}; it knows {trained}{', …' if len(known) > 12 else ''}"
            )
        if state[1] is not None:  # tensors of inference mode do not count their changes
            self._checked = (graph.numbers, state)

    def atomic_energies(self, graph: Graph, vectors: Float64[Tensor, "E 3"]) -> Float64[Tensor, " N"]:
        """Return the energy of every atom in eV."""
        return self._in_ev(self.network.energies_of(self.features(graph, vectors)), graph)

    def features(
        self,
        graph: Graph,
        vectors: Float64[Tensor, "E 3"],
        shown: Float64[Tensor, "N 3"] | None = None,
    ) -> Float[Tensor, "N K C"]:
        """Return the features that all heads use, as `Backbone`, with the chosen precision of products."""
        products: AbstractContextManager[object] = nullcontext()
        if (
            self.products is not None
        ):  # for the forward pass only; derivatives follow the types of their inputs
            products = torch.autocast(self.scale.device.type, dtype=self.products)
        with products:
            features: Tensor = self.network.backbone(graph, vectors, shown)
        return features

    def _compiled_for(self, graph: Graph) -> CompiledNetwork | None:
        """Return the compiled network if this is a step of training with a large enough graph."""
        if self._compiled is None or not self.training or not torch.is_grad_enabled():
            return None
        return self._compiled if self._compiled.accepts(graph) else None

    def _in_ev(self, energies: Float[Tensor, " N"], graph: Graph) -> Float64[Tensor, " N"]:
        energies = energies.double() * self.scale
        if self.mean_energy:
            energies = energies / count_of(graph.structure, graph.num_structures)[graph.structure]
        return energies + self.references[graph.numbers]

    def forward(self, graph: Graph) -> Prediction:
        """Predict energy, forces and stress. In training mode they can be differentiated with respect to the weights.

        Raises:
            InputError: as `check_elements`.
        """
        if torch.is_inference_mode_enabled() and self.direct is None:
            with torch.inference_mode(False):  # inference mode does not allow derivatives
                return self.forward(graph.map(torch.clone))
        if not self.training:
            self.check_elements(graph)
        graph = self.select_edges(graph)
        if self.direct is None:
            prediction = self._conservative_prediction(graph)
            return replace(prediction, energy=prediction.energy + self.offset)
        with torch.set_grad_enabled(self.training):
            vectors = edge_vectors(graph)
            features = (self._compiled_for(graph) or self).features(graph, vectors, None)
            return self._direct_prediction(features, graph, vectors, self.direct)

    def denoise(self, graph: Graph, corruption: Corruption) -> Denoised:
        """Predict how atoms were displaced, given the forces before the displacement.

        Args:
            graph: the graph of the displaced positions.
            corruption: the forces before the displacement, and which atoms were displaced.

        Raises:
            ValueError: the network has no parts for denoising (`model.dens` is false).
        """
        if self.noise is None:
            raise ValueError("a potential with model.dens: false cannot denoise")
        graph = self.select_edges(graph)
        with torch.set_grad_enabled(self.training):
            vectors = edge_vectors(graph)
            x = (self._compiled_for(graph) or self).features(graph, vectors, corruption.shown())
            before = None if self.direct is None else self._direct_prediction(x, graph, vectors, self.direct)
            return Denoised(noise=self.noise(x).double(), prediction=before)

    def _conservative_prediction(self, graph: Graph) -> Prediction:
        compiled = self._compiled_for(graph)
        if compiled is None:
            return conservative(self.atomic_energies, graph, differentiable=self.training)
        vectors = edge_vectors(graph)
        return prediction_from_gradient(graph, vectors, *compiled.energies(graph, vectors))

    def _direct_prediction(
        self, x: Float[Tensor, "N K C"], graph: Graph, vectors: Float64[Tensor, "E 3"], heads: DirectHeads
    ) -> Prediction:
        energies = self._in_ev(self.network.energies_of(x), graph)
        forces, stress = heads(x, graph, vectors, self.scale)
        energy = energies.new_zeros(graph.num_structures).index_add(0, graph.structure, energies)
        return Prediction.of_stress(graph, energy + self.offset, forces, stress, energies)

    def __call__(self, graph: Graph) -> Prediction:
        """Call `forward`, with the types of `Potential`."""
        prediction: Any = super().__call__(graph)
        assert isinstance(prediction, Prediction)
        return prediction


def make_potential(spec: ModelSpec, *, seed: int, elements: tuple[int, ...] | None = None) -> EsenPotential:
    """Return a new potential with random weights drawn from the seed, the same on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return EsenPotential(spec, elements)
