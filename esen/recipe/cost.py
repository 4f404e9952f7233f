"""What a model costs, in closed form: its parameters, and the arithmetic of one step.

Symbols: L = lmax, M = mmax; C, H and R are the sphere, hidden and edge channels; n radial functions. An order
m has the L − m + 1 degrees l ≥ m. A linear map from a to b channels has ab weights and costs 2ab FLOP.
"""

import math
from dataclasses import dataclass
from typing import assert_never

from esen.recipe.model import (
    BesselSpec,
    ConservativeSpec,
    DirectSpec,
    GateSpec,
    GaussianSpec,
    GridEdgesSpec,
    ModelSpec,
    NearestGraphSpec,
    NoStressSpec,
    Rank2StressSpec,
)
from esen.recipe.train import BatchSpec

ATOMS_PER_STRUCTURE = 32
"""About the mean of MPtrj; the estimate where a batch counts structures."""


def parameter_count(model: ModelSpec) -> int:
    """The number of weights that training changes. Reference energies and the scale are not among them.

    >>> parameter_count(ModelSpec(layers=10, lmax=3))  # eSEN-30M-MP
    30085121
    """
    L, C, H, R = model.lmax, model.sphere_channels, model.hidden_channels, model.edge_channels
    K0 = L + 1  # coefficients with m = 0, one a degree
    match model.radial:
        case GaussianSpec():
            frequencies = 0
        case BesselSpec(count=frequencies):
            pass
        case _:
            assert_never(model.radial)
    embeddings = model.max_elements * (C + 2 * R)
    norm = K0 * C + C
    conv1 = _so2_weights(model, 2 * C, H) + K0 * H + _extra(model) * (K0 * 2 * C + 1)  # bias; extra, its bias
    conv2 = _so2_weights(model, H, C) + K0 * C
    if _gated_feed_forward(model):
        feed_forward = (C + 1) * L * H + (K0 * C * H + H) + (K0 * H * C + C)
    else:
        feed_forward = C * H + H * H + H * C
    block = 2 * norm + conv1 + _radial_parameters(model, _radial_outputs(model)) + conv2 + feed_forward
    head = (C + 1) * H + (H + 1) * H + (H + 1)
    edge_degree = _radial_parameters(model, K0 * C)
    dens = K0 * C + C + (2 * C + 1) if model.dens else 0  # encoding of forces; noise
    return embeddings + frequencies + edge_degree + model.layers * block + norm + head + _direct(model) + dens


def _direct(model: ModelSpec) -> int:
    """Parameters of the heads of direct forces and stress."""
    if not isinstance(model.forces, DirectSpec):
        return 0
    forces = 2 * model.sphere_channels + 1
    head = model.forces.stress
    if isinstance(head, NoStressSpec):
        return forces
    width = model.sphere_channels * (2 if head.ends == "both" else 1)
    networks = (2 if isinstance(head, Rank2StressSpec) else 1) * (
        (head.layers - 1) * (width + 1) * width + width + 1
    )
    return forces + (model.lmax + 1 + 1) + 2 * width + networks  # norms, and networks of the stress


@dataclass(frozen=True)
class StepCost:
    """Floating-point operations (FLOP: a multiply-add counts two) of matrix products, in one forward pass.

    What acts element by element (activations, norms, envelope) and the making of edges and rotations are
    left out.

    Attributes:
        convolution1: first SO(2) convolution, per edge and layer.
        convolution2: second SO(2) convolution, per edge and layer.
        radial: radial network, per edge and layer; its species part is a table and costs nothing here.
        rotation: into the edge's frame and back, block by block, per edge and layer.
        edge_embedding: edge-degree embedding, once per edge.
        atom_layer: feed-forward network, per atom and layer.
        head: energy head, once per atom.
        layers: number of layers.
        density: assumed atoms per Å³.
        neighbours: edges per atom, estimated by the density.
        atoms: atoms in a batch.
        conservative: whether forces are a gradient.
    """

    convolution1: int
    convolution2: int
    radial: int
    rotation: int
    edge_embedding: int
    atom_layer: int
    head: int
    layers: int
    density: float
    neighbours: float
    atoms: int
    conservative: bool

    @property
    def edge_layer(self) -> int:
        """Per edge and layer, forward."""
        return self.convolution1 + self.convolution2 + self.radial + self.rotation

    @property
    def atom(self) -> float:
        """Per atom with its neighbours, forward: the energy alone."""
        edge = self.layers * self.edge_layer + self.edge_embedding
        return self.neighbours * edge + self.layers * self.atom_layer + self.head

    @property
    def inference_passes(self) -> int:
        """Energy, forces and stress, in forward passes: 2 where forces are a gradient, else 1.

        The backward pass asks for the gradient of every product's input, one more product of the same size,
        and not for that of the weights.
        """
        return 2 if self.conservative else 1

    @property
    def training_passes(self) -> int:
        """One training step, in forward passes: 6 where forces are a gradient, else 3.

        Energy 1, forces 1 (the input gradients); the loss then goes back through both, and each product of
        either pass asks for the gradients of its input and of its weights: 2 × 2. Direct forces: 1 + 2.
        """
        return 3 * self.inference_passes

    @property
    def inference(self) -> float:
        """Energy, forces and stress, per atom."""
        return self.inference_passes * self.atom

    @property
    def training(self) -> float:
        """One training step of one batch."""
        return self.training_passes * self.atom * self.atoms


def step_cost(model: ModelSpec, batch: BatchSpec, density: float = 0.06) -> StepCost:
    """Estimate the arithmetic of one training step.

    Args:
        model: the network.
        batch: its atoms, or its structures of 32 atoms each.
        density: atoms per Å³, from which follow (4/3)π cutoff³ × density neighbours per atom.

    >>> cost = step_cost(ModelSpec(), BatchSpec(atoms=1000))
    >>> cost.convolution1, cost.convolution2
    (2293760, 950272)
    """
    L, C, H, R = model.lmax, model.sphere_channels, model.hidden_channels, model.edge_channels
    n, K0, K = model.radial.count, L + 1, (L + 1) ** 2

    def radial(outputs: int) -> int:
        return 2 * (n * R + R * R + R * outputs)

    # each degree l of a rotation: 2l + 1 coefficients to or from those with |m| ≤ M
    block_products = sum((2 * l + 1) * (2 * min(l, model.mmax) + 1) for l in range(K0))
    within = density * 4 / 3 * math.pi * model.cutoff**3
    return StepCost(
        convolution1=2 * (_so2_products(model, 2 * C, H) + _extra(model) * K0 * 2 * C),
        convolution2=2 * _so2_products(model, H, C),
        radial=radial(_radial_outputs(model)),
        rotation=2 * block_products * (2 * C + C),
        edge_embedding=radial(K0 * C) + 2 * K * C,  # only m = 0 is rotated
        atom_layer=_feed_forward(model),
        head=2 * (C * H + H * H + H),
        layers=model.layers,
        density=density,
        neighbours=min(within, model.graph.k) if isinstance(model.graph, NearestGraphSpec) else within,
        atoms=batch.atoms if batch.atoms is not None else (batch.structures or 1) * ATOMS_PER_STRUCTURE,
        conservative=isinstance(model.forces, ConservativeSpec),
    )


def kept_per_edge(model: ModelSpec, *, training: bool) -> int:
    """About how many numbers an edge leaves in memory, over all layers, to be differentiated.

    Features of both ends before and after rotation and weighing, radial weights and the hidden layers behind them,
    what the convolutions give, and the message turned back. Training on gradients keeps about three times as many,
    since every derivative is differentiated again. What was measured: `docs/results/inference.md`.
    """
    C, H, R = model.sphere_channels, model.hidden_channels, model.edge_channels
    K = (model.lmax + 1) ** 2
    reduced = sum(2 * min(l, model.mmax) + 1 for l in range(model.lmax + 1))
    layer = 2 * C * (K + 2 * reduced) + _radial_outputs(model) + 8 * R
    layer += H * (2 * reduced + model.lmax) + C * (reduced + K)
    again = 3 if training and isinstance(model.forces, ConservativeSpec) else 1
    return model.layers * layer * again


def _feed_forward(model: ModelSpec) -> int:
    """FLOP of the feed-forward of one atom; heads of direct forces cost next to nothing and are left out."""
    C, H, K = model.sphere_channels, model.hidden_channels, (model.lmax + 1) ** 2
    if _gated_feed_forward(model):
        return 2 * (C * model.lmax * H + 2 * K * C * H)
    resolution = None if isinstance(model.nonlinearity, GateSpec) else model.nonlinearity.resolution
    side = resolution or 2 * (model.lmax + 1)
    points = side * (side if resolution else side + 1)
    return 2 * points * (2 * K * C + C * H + H * H + H * C)


def _gated_feed_forward(model: ModelSpec) -> bool:
    match model.nonlinearity:
        case GateSpec():
            return True
        case GridEdgesSpec(feed_forward=kind):
            return kind == "gate"
        case _:
            return False


def _extra(model: ModelSpec) -> int:
    """Scalars beside the first convolution: a gate a degree above 0, or what stands for l = 0 beside a grid."""
    gates = 1 if isinstance(model.nonlinearity, GridEdgesSpec) else model.lmax
    return gates * model.hidden_channels


def _degrees(model: ModelSpec) -> range:
    """L − m + 1 for m = 1 … M: how many degrees have that order."""
    return range(model.lmax, model.lmax - model.mmax, -1)


def _so2_weights(model: ModelSpec, inputs: int, outputs: int) -> int:
    """Weights of an SO(2) convolution: one real map for m = 0, a complex one for each m > 0."""
    return ((model.lmax + 1) ** 2 + 2 * sum(d**2 for d in _degrees(model))) * inputs * outputs


def _so2_products(model: ModelSpec, inputs: int, outputs: int) -> int:
    """Multiply-adds of an SO(2) convolution: a complex product is four real ones."""
    return ((model.lmax + 1) ** 2 + 4 * sum(d**2 for d in _degrees(model))) * inputs * outputs


def _radial_outputs(model: ModelSpec) -> int:
    """One weight for each degree, order m ≥ 0 and input channel (of sender and receiver)."""
    return 2 * model.sphere_channels * (model.lmax + 1 + sum(_degrees(model)))


def _radial_parameters(model: ModelSpec, outputs: int) -> int:
    """Parameters of a radial network: three linear maps with bias, a LayerNorm after the first two."""
    R = model.edge_channels
    first = (model.radial.count + 2 * R + 1) * R + 2 * R
    second = (R + 1) * R + 2 * R
    return first + second + (R + 1) * outputs
