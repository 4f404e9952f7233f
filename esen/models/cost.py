"""The number of parameters of a network and the arithmetic of one training step, counted on the network itself."""

import math
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from esen.graph.edges import edge_vectors
from esen.graph.types import Graph
from esen.models.potential import EsenPotential, make_potential
from esen.recipe.model import ConservativeSpec, ModelSpec, NearestGraphSpec
from esen.recipe.train import BatchSpec

ATOMS_PER_STRUCTURE = 32
"""Approximate mean of MPtrj, assumed where a recipe gives the size of a batch in structures."""


def parameter_count(model: ModelSpec) -> int:
    """Return the number of trained weights, which does not include reference energies and the scale.

    Networks of one and two layers are created on torch's `meta` device, which allocates no memory. All layers have the
    same number, so the count for more layers follows from these two.

    >>> parameter_count(ModelSpec(layers=10, lmax=3))  # eSEN-30M-MP
    30085121
    """
    counts = []
    with torch.device("meta"):
        for layers in (1, 2):
            potential = EsenPotential(model.model_copy(update={"layers": layers}))
            counts.append(sum(weights.numel() for weights in potential.parameters()))
    one, two = counts
    return one + (model.layers - 1) * (two - one)


@dataclass(frozen=True)
class StepCost:
    """Floating-point operations (FLOP; a multiply-add counts as two) of the matrix products of one forward pass.

    Element-wise operations (activations, norms, envelope) are not counted.

    Attributes:
        convolution1: first SO(2) convolution, per edge and layer.
        convolution2: second SO(2) convolution, per edge and layer.
        radial: radial network, per edge and layer; its species part is a table and not counted per edge.
        rotation: rotation into the edge frame and back, per edge and layer.
        edge_layer: these four and the nonlinearity of the edge, per edge and layer.
        edge_embedding: frame and embedding of the edge and the heads of a direct stress, once per edge.
        atom_layer: feed-forward network, per atom and layer.
        head: energy head and the heads of direct forces, once per atom.
        layers: number of layers.
        density: assumed atoms per Å³.
        neighbours: edges per atom, estimated from the density.
        atoms: number of atoms in a batch.
        conservative: whether forces are a gradient of the energy.
    """

    convolution1: int
    convolution2: int
    radial: int
    rotation: int
    edge_layer: int
    edge_embedding: int
    atom_layer: int
    head: int
    layers: int
    density: float
    neighbours: float
    atoms: int
    conservative: bool

    @property
    def atom(self) -> float:
        """The forward pass for the energy, per atom."""
        edge = self.layers * self.edge_layer + self.edge_embedding
        return self.neighbours * edge + self.layers * self.atom_layer + self.head

    @property
    def inference_passes(self) -> int:
        """The cost of energy, forces and stress in forward passes: 2 if forces are a gradient, else 1.

        The backward pass needs the gradient of the input of every product, which is one more product of the same size,
        and not that of the weights.
        """
        return 2 if self.conservative else 1

    @property
    def training_passes(self) -> int:
        """The cost of one training step in forward passes: 6 if forces are a gradient, else 3.

        The energy costs 1 and the forces (gradients of inputs) cost 1. The backward pass of the loss goes through both,
        and each of their products needs the gradients of its input and of its weights: 2 × 2. Direct forces cost 1 + 2.
        """
        return 3 * self.inference_passes

    @property
    def inference(self) -> float:
        """The cost of energy, forces and stress, per atom."""
        return self.inference_passes * self.atom

    @property
    def training(self) -> float:
        """The cost of one training step of one batch."""
        return self.training_passes * self.atom * self.atoms


def step_cost(model: ModelSpec, batch: BatchSpec, density: float = 0.06) -> StepCost:
    """Count the arithmetic of one training step with torch's own counter on a network of one layer.

    Args:
        model: the network.
        batch: size of a batch in atoms, or in structures of 32 atoms each.
        density: atoms per Å³; an atom has (4/3)π cutoff³ × density neighbours.

    >>> cost = step_cost(ModelSpec(), BatchSpec(atoms=1000))
    >>> cost.convolution1, cost.convolution2
    (2293760, 950272)
    """
    potential = make_potential(model.model_copy(update={"layers": 1}), seed=0)
    _forward(potential, atoms=2, edges=1)  # computes the cached tables, which are not counted
    few, more_edges, more_atoms = (
        _forward(potential, atoms=atoms, edges=edges) for atoms, edges in ((2, 1), (2, 2), (3, 1))
    )

    def edge(part: str) -> int:
        return more_edges.get(part, 0) - few.get(part, 0)

    block, everything = "blocks.0", "Global"
    names = ("conv1", "conv2", "radial", "activation")
    conv1, conv2, radial, activation = (edge(f"{block}.edgewise.{name}") for name in names)
    atom_layer = more_atoms[f"{block}.feed_forward"] - few[f"{block}.feed_forward"]
    within = density * 4 / 3 * math.pi * model.cutoff**3
    return StepCost(
        convolution1=conv1,
        convolution2=conv2,
        radial=radial,
        rotation=edge(f"{block}.edgewise") - conv1 - conv2 - radial - activation,
        edge_layer=edge(f"{block}.edgewise"),
        edge_embedding=edge(everything) - edge(block),
        atom_layer=atom_layer,
        head=more_atoms[everything] - few[everything] - atom_layer,
        layers=model.layers,
        density=density,
        neighbours=min(within, model.graph.k) if isinstance(model.graph, NearestGraphSpec) else within,
        atoms=batch.atoms if batch.atoms is not None else (batch.structures or 1) * ATOMS_PER_STRUCTURE,
        conservative=isinstance(model.forces, ConservativeSpec),
    )


def _forward(potential: EsenPotential, *, atoms: int, edges: int) -> dict[str, int]:
    """Return the FLOP of a prediction without derivatives by module; all edges connect the first two atoms."""
    zeros = torch.zeros(edges, dtype=torch.long)
    graph = Graph(
        numbers=torch.ones(atoms, dtype=torch.long),
        positions=torch.arange(3.0 * atoms, dtype=torch.float64).reshape(atoms, 3),
        cell=torch.zeros(1, 3, 3, dtype=torch.float64),
        pbc=torch.zeros(1, 3, dtype=torch.bool),
        structure=torch.zeros(atoms, dtype=torch.long),
        sender=zeros,
        receiver=zeros + 1,
        shift=torch.zeros(edges, 3, dtype=torch.float64),
    )
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        if potential.direct is None:
            potential.atomic_energies(graph, edge_vectors(graph))
        else:
            potential(graph)
    counts = {name: sum(count.values()) for name, count in counter.get_flop_counts().items()}
    return {name[max(0, name.find("blocks.")) :]: count for name, count in counts.items()}
