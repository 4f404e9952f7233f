"""The eSEN network: from edge vectors and species to features of every atom, and to its energy.

Source: Fu et al., "Learning smooth and expressive interatomic potentials" (2025), sections 3 and 4.
"""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from esen.graph.types import Graph
from esen.models.block import Block
from esen.models.chunks import EdgeChunks, chunk_sizes, recomputed
from esen.models.concatenation import concatenate, split
from esen.models.dens import ForceEncoding
from esen.models.envelope import make_envelope
from esen.models.frame import EdgeFrame
from esen.models.memory import is_lean
from esen.models.norm import EquivariantRMSNorm
from esen.models.radial import EdgeScalars, RadialMLP, make_radial
from esen.models.so3 import split_scalars
from esen.models.wigner import edge_wigner
from esen.recipe.model import ModelSpec
from esen.recipe.train import MemoryMode

DEGREE_RESCALE = 5.0
"""The published network divides the sum that starts it by this constant."""


@dataclass(frozen=True, eq=False)
class _SpeciesTables:
    """Embeddings of the species present, and which row each atom has."""

    species: Int64[Tensor, " N"]
    sender: Float[Tensor, "Z embedding"]
    receiver: Float[Tensor, "Z embedding"]


class Backbone(nn.Module):
    """Features x: (N, (lmax+1)², C) of every atom.

    They begin as an embedding of the species (l = 0) plus, from each neighbour, u(d) · w_l(d, Z_j, Z_i) · Y_l(n) / 5,
    and pass through the blocks and a last norm.

    Attributes:
        memory: whether all that the edges need is kept for differentiation (`chunks.py`).
        in_one_piece: all edges are one chunk, kept as a whole, and every species has a row in the tables, so that
            what is computed is the same for graphs of any size: for `compiled.py`. The results differ by rounding.
    """

    memory: MemoryMode = "auto"
    in_one_piece: bool = False

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
        self.force_encoding = ForceEncoding(spec.lmax, spec.sphere_channels) if spec.dens else None

    def edge_chunks(self, graph: Graph, vectors: Float64[Tensor, "E 3"]) -> EdgeChunks:
        """What all blocks need of the edges."""
        if self.in_one_piece:
            tables = _SpeciesTables(graph.numbers, self.sender_species.weight, self.receiver_species.weight)
            return EdgeChunks((self.edge_frame(vectors, graph.sender, graph.receiver, tables),), lean=False)
        weight = self.species.weight
        lean = is_lean(
            self.memory,
            self.spec,
            graph.num_edges,
            dtype=weight.dtype,
            device=weight.device,
            training=self.training,
        )
        present, species = graph.numbers.unique(return_inverse=True)
        tables = _SpeciesTables(species, self.sender_species(present), self.receiver_species(present))
        sizes = chunk_sizes(graph.num_edges, weight.device)
        chunks = zip(
            split(vectors, sizes, dim=0), graph.sender.split(sizes), graph.receiver.split(sizes), strict=True
        )
        make = partial(recomputed, self.edge_frame) if lean else self.edge_frame
        return EdgeChunks(tuple(make(*chunk, tables) for chunk in chunks), lean)

    def edge_frame(
        self,
        vectors: Float64[Tensor, "E 3"],
        sender: Int64[Tensor, " E"],
        receiver: Int64[Tensor, " E"],
        tables: "_SpeciesTables",
    ) -> EdgeFrame:
        """The frame of some edges. Geometry is done in float64, then rounded to the network's precision.

        What rotates is rounded to the precision of the products, where that is another one.
        """
        dtype = self.species.weight.dtype
        products = products_dtype(self.species.weight)
        distance = vectors.norm(dim=1)
        wigner = edge_wigner(vectors / distance[:, None], self.spec.lmax, self.spec.mmax)
        envelope = self.envelope(distance / self.spec.cutoff)[:, None, None]
        return EdgeFrame(
            sender=sender,
            receiver=receiver,
            num_atoms=tables.species.shape[0],
            wigner=tuple(d.to(products) for d in wigner),
            inverse=tuple((d.mT * envelope).to(products) for d in wigner),
            scalars=EdgeScalars(
                radial=self.radial_basis(distance.to(dtype)),
                sender=tables.species[sender],
                receiver=tables.species[receiver],
                sender_table=tables.sender,
                receiver_table=tables.receiver,
            ),
        )

    def forward(
        self,
        graph: Graph,
        vectors: Float64[Tensor, "E 3"],
        shown: Float64[Tensor, "N 3"] | None = None,
    ) -> Float[Tensor, "N K C"]:
        """Features of every atom.

        Args:
            graph: species and connectivity.
            vectors: `edge_vectors(graph)`, given apart so that the energy can be differentiated by them.
            shown: forces in eV/Å to encode (DeNS), zero where none is shown; None: none at all.
        """
        edges = self.edge_chunks(graph, vectors)
        x = edges.sum(self._embed)
        scalars, rest = split_scalars(x)
        x = concatenate([scalars + self.species(graph.numbers).unsqueeze(1), rest], dim=1)
        if self.force_encoding is not None:
            x = x + self.force_encoding(torch.zeros_like(graph.positions) if shown is None else shown)
        for block in self.blocks:
            x = block(x, edges)
        features: Tensor = self.norm(x)
        return features

    def _embed(self, frame: EdgeFrame) -> Float[Tensor, "N K C"]:
        degrees = self.edge_degree(frame.scalars).unflatten(1, (self.spec.lmax + 1, -1))
        return frame.axial_to_atoms(degrees / DEGREE_RESCALE)


def products_dtype(weight: Tensor) -> torch.dtype:
    """The precision in which a weight is multiplied: its own, or that of `torch.autocast` around."""
    kind = weight.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype


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
