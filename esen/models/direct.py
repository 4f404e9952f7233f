"""Forces and stress straight from the features, not from the energy: fast to train, and no gradient of anything.

The paper's counter-example, and its first stage of training. Forces need not sum to zero, and work around a closed loop
need not vanish.
"""

from math import sqrt

import torch
from e3nn import o3
from jaxtyping import Float, Float64
from torch import Tensor, nn

from esen.graph.types import Graph
from esen.models.norm import EquivariantRMSNorm
from esen.models.so3 import SO3Linear, by_degree
from esen.recipe.model import ModelSpec


class DirectForces(nn.Module):
    """F_i: the l = 1 part of a linear map from the features of atom i to one channel.

    Args:
        channels: of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = SO3Linear(1, channels, 1)

    def forward(self, x: Float[Tensor, "N K C"]) -> Float[Tensor, "N 3"]:
        """Forces in units of the data's scale."""
        forces: Tensor = self.linear(torch.cat(by_degree(x)[:2], dim=1))[:, 1:, 0]
        return forces


class DirectStress(nn.Module):
    """σ: its trace from scalars, its five other components from l = 2, as means over edges, then over atoms.

    With s_lm the normed solid harmonics of the edge and z = LayerNorm([Σ_lm x_j s_lm | Σ_lm x_i s_lm]),

        trace part = ⟨MLP₀(z)⟩,      σ_2m = ⟨MLP₂(Y_2m(n) · z)⟩.

    Args:
        lmax: highest degree, at least 2.
        channels: of the features.
    """

    def __init__(self, lmax: int, channels: int) -> None:
        super().__init__()
        self.lmax = lmax
        width = 2 * channels
        self.harmonics_norm = EquivariantRMSNorm(lmax, 1)
        self.edge_norm = nn.LayerNorm(width)
        self.isotropic = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))
        self.anisotropic = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(
        self, x: Float[Tensor, "N K C"], graph: Graph, vectors: Float64[Tensor, "E 3"]
    ) -> Float[Tensor, "B 3 3"]:
        """Stress in units of the data's scale; zero for a structure without edges."""
        vectors = vectors.detach()
        degrees = list(range(self.lmax + 1))
        solid = o3.spherical_harmonics(degrees, vectors, normalize=False, normalization="integral").to(x)
        harmonics = self.harmonics_norm(solid.unsqueeze(2))  # (E, K, 1)
        ends = [(x.index_select(0, atom) * harmonics).sum(1) for atom in (graph.sender, graph.receiver)]
        edge = self.edge_norm(torch.cat(ends, dim=1))  # (E, 2C)
        second = o3.spherical_harmonics(2, vectors, normalize=True, normalization="integral").to(x)
        parts = torch.cat(
            [self.isotropic(edge), self.anisotropic(second.unsqueeze(2) * edge.unsqueeze(1)).squeeze(2)],
            dim=1,
        )
        of_atoms = _mean(parts, graph.receiver, graph.num_atoms)
        of_structures = _mean(of_atoms, graph.structure, graph.num_structures)  # (B, 6)
        components = torch.cat(
            [of_structures[:, :1], of_structures.new_zeros(len(of_structures), 3), of_structures[:, 1:]],
            dim=1,
        )
        return (components @ _CHANGE.to(x)).view(-1, 3, 3)


class DirectHeads(nn.Module):
    """Forces of all atoms and stress of all structures, zero for those that are not periodic in three directions."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.forces = DirectForces(spec.sphere_channels)
        self.stress = DirectStress(spec.lmax, spec.sphere_channels)

    def forward(
        self, x: Float[Tensor, "N K C"], graph: Graph, vectors: Float64[Tensor, "E 3"]
    ) -> tuple[Float[Tensor, "N 3"], Float[Tensor, "B 3 3"]]:
        """Both in units of the data's scale."""
        stress = self.stress(x, graph, vectors)
        periodic = graph.pbc.all(dim=1)[:, None, None]
        return self.forces(x), torch.where(periodic, stress, torch.zeros_like(stress))


def _mean(values: Float[Tensor, "E F"], index: Tensor, count: int) -> Float[Tensor, "N F"]:
    sums = values.new_zeros(count, values.shape[1]).index_add(0, index, values)
    return sums / torch.bincount(index, minlength=count).clamp(min=1).unsqueeze(1)


def _change_of_basis() -> Float64[Tensor, "9 9"]:
    """Rows: the orthonormal tensors of l = 0, 1 (three zero rows: a stress is symmetric) and 2."""
    basis = torch.zeros(9, 3, 3, dtype=torch.float64)
    basis[0] = torch.eye(3, dtype=torch.float64) / sqrt(3)
    x, y, z = 0, 1, 2
    for row, a, b in ((4, x, z), (5, x, y), (7, y, z)):
        basis[row, a, b] = basis[row, b, a] = 1 / sqrt(2)
    basis[6] = torch.diag(torch.tensor([-1.0, 2.0, -1.0], dtype=torch.float64)) / sqrt(6)
    basis[8] = torch.diag(torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)) / sqrt(2)
    return basis.view(9, 9)


_CHANGE = _change_of_basis()
