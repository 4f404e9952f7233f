"""DeNS: the parts of the network that are only used while it learns to predict a displacement of the atoms.

The network is given displaced positions and the forces before the displacement, and predicts the displacement. Without
the forces the displacement would not be determined. Source: Liao et al., "Generalizing denoising to non-equilibrium
structures" (2024).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import torch
from e3nn import o3
from jaxtyping import Bool, Float, Float64
from torch import Tensor, nn

from esen.graph.types import Prediction
from esen.models.so3 import SO3Linear


@dataclass(frozen=True, eq=False)
class Corruption:
    """Forces and displaced atoms of a structure, as inputs of the network.

    Attributes:
        forces: forces before the displacement, in eV/Å.
        corrupted: mask of the displaced atoms; the network is not given the forces of the others.
    """

    forces: Float64[Tensor, "N 3"]
    corrupted: Bool[Tensor, " N"]

    def shown(self) -> Float64[Tensor, "N 3"]:
        """Return the forces of the displaced atoms, with zero for the others."""
        return torch.where(self.corrupted.unsqueeze(1), self.forces, torch.zeros_like(self.forces))


@dataclass(frozen=True, eq=False)
class Denoised:
    """The prediction for a structure with displaced atoms.

    Attributes:
        noise: displacement of every atom in units of its standard deviation; meaningless for atoms that were not
            displaced.
        prediction: energy, forces and stress before the displacement; None for conservative forces, which belong to
            the displaced positions.
    """

    noise: Float64[Tensor, "N 3"]
    prediction: Prediction | None


class ForceEncoding(nn.Module):
    """W_l (|F| / √3) Y_lm(F/|F|), with a bias on l = 0 that is also added where the force is not given.

    Y has the `component` normalisation: for l = 1, Y = √3 F/|F|, and the encoding is W_1 F.

    Args:
        lmax: highest degree.
        channels: number of channels of the features.
    """

    def __init__(self, lmax: int, channels: int) -> None:
        super().__init__()
        self.lmax = lmax
        self.linear = SO3Linear(lmax, 1, channels)

    def forward(self, forces: Float64[Tensor, "N 3"]) -> Float[Tensor, "N K C"]:
        """Encode the force on every atom in eV/Å, which is zero where it is not given."""
        degrees = list(range(self.lmax + 1))
        harmonics = o3.spherical_harmonics(degrees, forces, normalize=True, normalization="component")
        lengths = forces.norm(dim=1, keepdim=True) / sqrt(3)
        encoding: Tensor = self.linear((harmonics * lengths).unsqueeze(2).to(self.linear.weight.dtype))
        return encoding


_ENCODING, _SPECIES = "network.backbone.force_encoding.", "network.backbone.species.weight"


def without_denoising(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights without those that only denoising needs; the predictions stay the same.

    Without forces the encoding is its bias, one vector for all atoms, which is added to the embedding of every species.

    Args:
        weights: weights by their names in `EsenPotential`.
    """
    kept = {name: w for name, w in weights.items() if not name.startswith((_ENCODING, "noise."))}
    bias = weights.get(_ENCODING + "linear.bias")
    if bias is not None:
        kept[_SPECIES] = weights[_SPECIES] + bias
    return kept
