"""What a network costs: its parameters, and the arithmetic of one training step, both counted on the network itself."""

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
"""About the mean of MPtrj; the estimate where a batch counts structures."""


def parameter_count(model: ModelSpec) -> int:
    """The number of weights that training changes. Reference energies and the scale are not among them.

    Networks of one and two layers are made on torch's `meta` device, which allocates nothing. All layers have the same
    number, so that the count of a network with many layers follows from these.

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
    """Floating-point operations (FLOP: a multiply-add counts two) of matrix products, in one forward pass.

    Element-wise operations (activations, norms, envelope) are left out.

    Attributes:
        convolution1: first SO(2) convolution, per edge and layer.
        convolution2: second SO(2) convolution, per edge and layer.
        radial: radial network, per edge and layer; its species part is a table and costs nothing here.
        rotation: into the edge's frame and back, per edge and layer.
        edge_layer: these four and the edge's nonlinearity, per edge and layer.
        edge_embedding: the edge's frame, its embedding, and the heads of a direct stress, once per edge.
        atom_layer: feed-forward network, per atom and layer.
        head: energy head and the heads of direct forces, once per atom.
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
        """One atom with its neighbours, forward: the energy alone."""
        edge = self.layers * self.edge_layer + self.edge_embedding
        return self.neighbours * edge + self.layers * self.atom_layer + self.head

    @property
    def inference_passes(self) -> int:
        """Energy, forces and stress, in forward passes: 2 if forces are a gradient, else 1.

        The backward pass asks for the gradient of every product's input, one more product of the same size,
        and not for that of the weights.
        """
        return 2 if self.conservative else 1

    @property
    def training_passes(self) -> int:
        """One training step, in forward passes: 6 if forces are a gradient, else 3.

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
    """Count the arithmetic of one training step with torch's own counter, on a network of one layer.

    Args:
        model: the network.
        batch: its atoms, or its structures of 32 atoms each.
        density: atoms per Å³, from which follow (4/3)π cutoff³ × density neighbours per atom.

    >>> cost = step_cost(ModelSpec(), BatchSpec(atoms=1000))
    >>> cost.convolution1, cost.convolution2
    (2293760, 950272)
    """
    potential = make_potential(model.model_copy(update={"layers": 1}), seed=0)
    _forward(potential, atoms=2, edges=1)  # tables that are computed once are not counted
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
    """FLOP of energies, and of direct forces and stress, by module; all edges join the first two atoms."""
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
