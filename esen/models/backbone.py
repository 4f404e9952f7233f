"""The eSEN network: from edge vectors and species to features of every atom, and to its energy.

Source: Fu et al., "Learning smooth and expressive interatomic potentials" (2025), sections 3 and 4.
"""

from jaxtyping import Float, Float64
from torch import Tensor, nn

from esen.graph.types import Graph
from esen.models.block import Block
from esen.models.envelope import make_envelope
from esen.models.frame import EdgeFrame
from esen.models.norm import EquivariantRMSNorm
from esen.models.pieces import join
from esen.models.radial import EdgeScalars, RadialMLP, make_radial
from esen.models.so3 import split_scalars
from esen.models.wigner import edge_wigner
from esen.recipe.model import ModelSpec

DEGREE_RESCALE = 5.0
"""The published network divides the sum that starts it by this constant."""


class Backbone(nn.Module):
    """Features x: (N, (lmax+1)², C) of every atom.

    They begin as an embedding of the species (l = 0) plus, from each neighbour, u(d) · w_l(d, Z_j, Z_i) · Y_l(n) / 5,
    and pass through the blocks and a last norm.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.radial_basis = make_radial(spec.radial, spec.cutoff)
        self.envelope = make_envelope(spec.envelope)
        self.species = nn.Embedding(spec.max_elements, spec.sphere_channels)
        self.sender_species = nn.Embedding(spec.max_elements, spec.edge_channels)
        self.receiver_species = nn.Embedding(spec.max_elements, spec.edge_channels)
        for table in (self.sender_species, self.receiver_species):
            nn.init.uniform_(table.weight, -1e-3, 1e-3)
        outputs = (spec.lmax + 1) * spec.sphere_channels
        self.edge_degree = RadialMLP(spec.radial.count, spec.edge_channels, outputs)
        self.blocks = nn.ModuleList(Block(spec) for _ in range(spec.layers))
        self.norm = EquivariantRMSNorm(spec.lmax, spec.sphere_channels)

    def edge_frame(self, graph: Graph, vectors: Float64[Tensor, "E 3"]) -> EdgeFrame:
        """What all blocks need of the edges. Geometry is done in float64, then rounded to the network's precision."""
        dtype = self.species.weight.dtype
        distance = vectors.norm(dim=1)
        wigner = edge_wigner(vectors / distance[:, None], self.spec.lmax, self.spec.mmax)
        envelope = self.envelope(distance / self.spec.cutoff)[:, None, None]
        present, species = graph.numbers.unique(return_inverse=True)
        return EdgeFrame(
            sender=graph.sender,
            receiver=graph.receiver,
            num_atoms=graph.num_atoms,
            wigner=tuple(d.to(dtype) for d in wigner),
            inverse=tuple((d.mT * envelope).to(dtype) for d in wigner),
            scalars=EdgeScalars(
                radial=self.radial_basis(distance.to(dtype)),
                sender=species[graph.sender],
                receiver=species[graph.receiver],
                sender_table=self.sender_species(present),
                receiver_table=self.receiver_species(present),
            ),
        )

    def forward(self, graph: Graph, vectors: Float64[Tensor, "E 3"]) -> Float[Tensor, "N K C"]:
        """Features of every atom.

        Args:
            graph: species and connectivity.
            vectors: `edge_vectors(graph)`, given apart so that the energy can be differentiated by them.
        """
        frame = self.edge_frame(graph, vectors)
        x = frame.axial_to_atoms(
            self.edge_degree(frame.scalars).unflatten(1, (self.spec.lmax + 1, -1)) / DEGREE_RESCALE
        )
        scalars, rest = split_scalars(x)
        x = join([scalars + self.species(graph.numbers).unsqueeze(1), rest], dim=1)
        for block in self.blocks:
            x = block(x, frame)
        features: Tensor = self.norm(x)
        return features


class EnergyNetwork(nn.Module):
    """The energy of every atom, in units of the data's scale: Linear – SiLU – Linear – SiLU – Linear of its scalars."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        channels, hidden = spec.sphere_channels, spec.hidden_channels
        self.backbone = Backbone(spec)
        self.head = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, 1),
        )

    def forward(self, graph: Graph, vectors: Float64[Tensor, "E 3"]) -> Float[Tensor, " N"]:
        """Energies of the atoms."""
        return self.energies_of(self.backbone(graph, vectors))

    def energies_of(self, x: Float[Tensor, "N K C"]) -> Float[Tensor, " N"]:
        """Energies of the atoms with these features."""
        energies: Tensor = self.head(x[:, 0]).squeeze(1)
        return energies
