"""The eSEN network: edge vectors and species determine the features of every atom, and these its energy.

Source: Fu et al., "Learning smooth and expressive interatomic potentials" (2025), sections 3 and 4.
"""

from collections.abc import Sequence
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
from esen.models.edge_frame import make_roll, rolled
from esen.models.envelope import make_envelope
from esen.models.frame import EdgeFrame
from esen.models.memory import is_lean
from esen.models.mlp import mlp
from esen.models.norm import EquivariantRMSNorm
from esen.models.radial import EdgeScalars, RadialMLP, make_radial
from esen.models.so3 import split_scalars
from esen.models.wigner import edge_wigner
from esen.recipe.model import ModelSpec
from esen.recipe.train import MemoryMode

DEGREE_RESCALE = 5.0
"""The published network divides the initial sum over neighbours by this constant."""


@dataclass(frozen=True, eq=False)
class _SpeciesTables:
    """Embeddings of species as senders and as receivers, and the row of each atom in them."""

    species: Int64[Tensor, " N"]
    sender: Float[Tensor, "Z embedding"]
    receiver: Float[Tensor, "Z embedding"]


class Backbone(nn.Module):
    """Features x: (N, (lmax+1)², C) of every atom.

    They start as an embedding of the species (l = 0) plus the sum over neighbours of u(d) · w_l(d, Z_j, Z_i) · Y_l(n) /
    5, and pass through the blocks and a final norm.

    Attributes:
        roll: generator of random rolls of the edge frames; None for the smooth frame.
        memory: whether all intermediate results of the edges are kept for differentiation (`chunks.py`).
        single_chunk: whether all edges form one chunk and the tables hold every species. The operations are then the
            same for graphs of any size, as `compiled.py` needs. The results differ by rounding.
    """

    memory: MemoryMode = "auto"
    single_chunk: bool = False

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.radial_basis = make_radial(spec.radial, spec.cutoff)
        self.envelope = make_envelope(spec.envelope)
        self.roll = make_roll(spec.edge_frame)
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
        """Return the frames of all edges, which every block uses."""
        if self.single_chunk:
            tables = self._species_tables(graph.numbers)
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
        tables = self._species_tables(graph.numbers)
        sizes = chunk_sizes(graph.num_edges, weight.device)
        drawn: Sequence[Tensor | None] = [None] * len(sizes)
        if self.roll is not None:  # for all chunks at once, so that a chunk computed again has the same roll
            drawn = self.roll.draw(graph.num_edges).to(vectors.device).split(sizes)
        make = partial(recomputed, self.edge_frame) if lean else self.edge_frame
        senders, receivers = graph.sender.split(sizes), graph.receiver.split(sizes)
        chunks = zip(split(vectors, sizes, dim=0), senders, receivers, drawn, strict=True)
        return EdgeChunks(tuple(make(v, s, r, tables, random) for v, s, r, random in chunks), lean)

    def _species_tables(self, numbers: Int64[Tensor, " N"]) -> _SpeciesTables:
        """Return tables of the species that occur, or on a GPU, which would have to be waited for, of all."""
        if self.single_chunk or numbers.is_cuda:
            return _SpeciesTables(numbers, self.sender_species.weight, self.receiver_species.weight)
        present, species = numbers.unique(return_inverse=True)
        return _SpeciesTables(species, self.sender_species(present), self.receiver_species(present))

    def edge_frame(
        self,
        vectors: Float64[Tensor, "E 3"],
        sender: Int64[Tensor, " E"],
        receiver: Int64[Tensor, " E"],
        tables: _SpeciesTables,
        drawn: Float64[Tensor, "E 3"] | None = None,
    ) -> EdgeFrame:
        """Return the frames of some edges.

        They are computed in float64. Rotations are then rounded to the precision of the products, and distances to that
        of the network.

        Args:
            vectors: the edge vectors.
            sender: index of the neighbour of each edge.
            receiver: index of the central atom of each edge.
            tables: embeddings of the species.
            drawn: random vectors that give each frame its roll; None for the smooth frame.
        """
        dtype = self.species.weight.dtype
        products = products_dtype(self.species.weight)
        distance = vectors.norm(dim=1)
        direction = vectors / distance[:, None]
        wigner = edge_wigner(direction, self.spec.lmax, self.spec.mmax)
        if drawn is not None:
            wigner = rolled(wigner, direction, drawn)
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
        """Return the features of every atom.

        Args:
            graph: the graph, of which species and connectivity are used.
            vectors: `edge_vectors(graph)`, a separate argument so that the energy can be differentiated by it.
            shown: forces in eV/Å to encode (DeNS), zero for atoms whose force is not given; None if there are none.
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
    """Return the precision in which a weight is multiplied: that of an enclosing `torch.autocast`, or its own."""
    kind = weight.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype


class EnergyNetwork(nn.Module):
    """The energy of every atom in units of the potential's scale, by a perceptron of its scalars."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.backbone = Backbone(spec)
        self.head = mlp(spec.sphere_channels, spec.hidden_channels, spec.hidden_channels, 1)

    def energies_of(self, x: Float[Tensor, "N K C"]) -> Float[Tensor, " N"]:
        """Return the energies of atoms with the given features."""
        energies: Tensor = self.head(x[:, 0]).squeeze(1)
        return energies
