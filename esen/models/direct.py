"""Forces and stress computed from the features, not as derivatives of the energy: fast to train, not conservative.

This is the paper's counter-example and its first stage of training. The forces need not sum to zero, and the work along
a closed path need not vanish.
"""

from math import sqrt
from typing import assert_never

import torch
from e3nn import o3
from jaxtyping import Float, Float64
from torch import Tensor, nn

from esen.graph.edges import count_of
from esen.graph.types import Graph
from esen.models.constants import constant
from esen.models.mlp import mlp
from esen.models.norm import EquivariantRMSNorm
from esen.models.so3 import VectorHead
from esen.recipe.model import DirectSpec, ModelSpec, NoStressSpec, OuterStressSpec, Rank2StressSpec


class DirectStress(nn.Module):
    """The stress σ from features of edges: its trace from scalars and its five other components from l = 2.

    With the normalised solid harmonics s_lm of the edge and z = LayerNorm([Σ_lm x_j s_lm | Σ_lm x_i s_lm]),

        trace part = ⟨MLP₀(z)⟩,      σ_2m = ⟨MLP₂(Y_2m(n) · z)⟩,

    where ⟨⟩ is the mean over the edges into an atom and then over atoms. In some recipes z is computed from the
    receiver i alone, the networks are applied after the mean over edges, or atoms are summed. The kind `outer` computes
    σ_ab = ⟨MLP(v_a v_b · z)⟩.

    Args:
        lmax: highest degree, at least 2.
        channels: number of channels of the features.
        spec: options of the recipe.
    """

    def __init__(self, lmax: int, channels: int, spec: Rank2StressSpec | OuterStressSpec) -> None:
        super().__init__()
        self.lmax, self.spec = lmax, spec
        width = channels * (2 if spec.ends == "both" else 1)
        widths = [width] * spec.layers + [1]
        self.harmonics_norm = EquivariantRMSNorm(lmax, 1)
        self.edge_norm = nn.LayerNorm(width)
        if isinstance(spec, OuterStressSpec):
            self.tensor = mlp(*widths)
        else:
            self.isotropic, self.anisotropic = mlp(*widths), mlp(*widths)

    def forward(
        self, x: Float[Tensor, "N K C"], graph: Graph, vectors: Float64[Tensor, "E 3"]
    ) -> Float[Tensor, "B parts"]:
        """Return the six components of l = 0 and 2 of every structure, or all nine Cartesian ones (`outer`)."""
        vectors = vectors.detach()
        degrees = list(range(self.lmax + 1))
        solid = o3.spherical_harmonics(degrees, vectors, normalize=False, normalization="integral").to(x)
        harmonics = self.harmonics_norm(solid.unsqueeze(2))  # (E, K, 1)
        atoms = (graph.sender, graph.receiver) if self.spec.ends == "both" else (graph.receiver,)
        ends = [(x.index_select(0, atom) * harmonics).sum(1) for atom in atoms]
        edge = self.edge_norm(torch.cat(ends, dim=1)).unsqueeze(1)  # (E, 1, width)
        parts = self._factors(vectors).to(x).unsqueeze(2) * edge
        if self.spec.mlp == "edge":
            of_atoms = _mean(self._networks(parts), graph.receiver, graph.num_atoms)
        else:
            of_atoms = self._networks(_mean(parts, graph.receiver, graph.num_atoms))
        if self.spec.sum_over is None:
            return _mean(of_atoms, graph.structure, graph.num_structures)
        zeros = of_atoms.new_zeros(graph.num_structures, of_atoms.shape[1])
        return zeros.index_add(0, graph.structure, of_atoms) / self.spec.sum_over

    def _factors(self, vectors: Float64[Tensor, "E 3"]) -> Float64[Tensor, "E parts"]:
        if isinstance(self.spec, OuterStressSpec):
            return (vectors.unsqueeze(2) * vectors.unsqueeze(1)).flatten(1)
        second = o3.spherical_harmonics(2, vectors, normalize=True, normalization="integral")
        return torch.cat([torch.ones_like(vectors[:, :1]), second], dim=1)

    def _networks(self, parts: Float[Tensor, "A parts width"]) -> Float[Tensor, "A parts"]:
        if isinstance(self.spec, OuterStressSpec):
            components: Tensor = self.tensor(parts)
        else:
            scalar, second = parts.split([1, 5], dim=1)
            components = torch.cat([self.isotropic(scalar), self.anisotropic(second)], dim=1)
        return components.squeeze(2)


class DirectHeads(nn.Module):
    """Forces of all atoms and stress of all structures, in units of the potential's scale.

    The stress is NaN if the recipe has none.

    Attributes:
        units: factors of the forces, of the trace part and of the other part of the stress; 1 unless another program
            trained them in units of their own.
        pressure: constant added to the component Tr σ/√3, in eV/Å³.
    """

    units: Tensor
    pressure: Tensor

    def __init__(self, spec: ModelSpec, direct: DirectSpec) -> None:
        super().__init__()
        self.forces = VectorHead(spec.sphere_channels)
        self.stress: DirectStress | None
        match direct.stress:
            case Rank2StressSpec() | OuterStressSpec() as choices:
                self.stress = DirectStress(spec.lmax, spec.sphere_channels, choices)
            case NoStressSpec():
                self.stress = None
            case _:
                assert_never(direct.stress)
        self.register_buffer("units", torch.ones(3, dtype=torch.float64))
        self.register_buffer("pressure", torch.zeros((), dtype=torch.float64))

    def forward(
        self,
        x: Float[Tensor, "N K C"],
        graph: Graph,
        vectors: Float64[Tensor, "E 3"],
        scale: Float64[Tensor, ""],
    ) -> tuple[Float64[Tensor, "N 3"], Float64[Tensor, "B 3 3"]]:
        """Return forces in eV/Å and stress in eV/Å³.

        Args:
            x: features of the atoms.
            graph: the batch.
            vectors: its edge vectors.
            scale: scale of the potential in eV.
        """
        forces, isotropic, anisotropic = (scale * self.units).unbind()
        if self.stress is None:
            stress = forces.new_full((graph.num_structures, 3, 3), float("nan"))
        else:
            components = self.stress(x, graph, vectors).double()
            if components.shape[1] == 9:
                components = components * anisotropic
            else:
                trace, others = components.split([1, 5], dim=1)
                components = torch.cat([trace * isotropic + self.pressure, others * anisotropic], dim=1)
                components = components @ _change_of_basis(components.device)
            stress = components.view(-1, 3, 3)
        return self.forces(x).double() * forces, stress


def _mean(values: Float[Tensor, "E *F"], index: Tensor, count: int) -> Float[Tensor, "N *F"]:
    sums = values.new_zeros(count, *values.shape[1:]).index_add(0, index, values)
    counts = count_of(index, count).clamp(min=1)
    return sums / counts.view(-1, *[1] * (values.dim() - 1))


@constant
def _change_of_basis(device: torch.device) -> Float64[Tensor, "6 9"]:
    """Return the orthonormal symmetric tensors of l = 0 and of l = 2 with m = −2 … 2 as rows."""
    basis = torch.zeros(6, 3, 3, dtype=torch.float64)
    basis[0] = torch.eye(3, dtype=torch.float64) / sqrt(3)
    x, y, z = 0, 1, 2
    for row, a, b in ((1, x, z), (2, x, y), (4, y, z)):
        basis[row, a, b] = basis[row, b, a] = 1 / sqrt(2)
    basis[3] = torch.diag(torch.tensor([-1.0, 2.0, -1.0], dtype=torch.float64)) / sqrt(6)
    basis[5] = torch.diag(torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)) / sqrt(2)
    return basis.view(6, 9).to(device)
