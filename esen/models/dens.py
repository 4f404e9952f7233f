"""DeNS: the parts of the network that are only used while it learns to undo a displacement of the atoms.

Source: Liao et al., "Generalizing denoising to non-equilibrium structures" (2024). The forces of a structure are shown
to the network together with displaced positions; it says how the atoms were displaced. Without the forces that question
would have many answers.
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
    """What the network is told of a structure whose atoms were displaced.

    Attributes:
        forces: of the structure before, in eV/Å.
        corrupted: which atoms were displaced; the forces of the others are hidden.
    """

    forces: Float64[Tensor, "N 3"]
    corrupted: Bool[Tensor, " N"]

    def shown(self) -> Float64[Tensor, "N 3"]:
        """The forces of the displaced atoms, zero for the others."""
        return torch.where(self.corrupted.unsqueeze(1), self.forces, torch.zeros_like(self.forces))


@dataclass(frozen=True, eq=False)
class Denoised:
    """What the network says of displaced atoms.

    Attributes:
        noise: the displacement of every atom in units of the standard deviation it was drawn with; it has a meaning
            for displaced atoms only.
        prediction: energy, forces and stress of the structure before; None where forces are a gradient, since the
            energy at the displaced positions is another one.
    """

    noise: Float64[Tensor, "N 3"]
    prediction: Prediction | None


class ForceEncoding(nn.Module):
    """W_l (|F| / √3) Y_lm(F/|F|), and a bias on l = 0 that also acts where no forces are shown.

    Y has the `component` normalisation, in which l = 1 is √3 F/|F|: there the encoding is F itself.

    Args:
        lmax: highest degree.
        channels: of the features.
    """

    def __init__(self, lmax: int, channels: int) -> None:
        super().__init__()
        self.lmax = lmax
        self.linear = SO3Linear(lmax, 1, channels)

    def forward(self, forces: Float64[Tensor, "N 3"]) -> Float[Tensor, "N K C"]:
        """The encoding of every atom's force in eV/Å; zero where none is shown."""
        degrees = list(range(self.lmax + 1))
        harmonics = o3.spherical_harmonics(degrees, forces, normalize=True, normalization="component")
        lengths = forces.norm(dim=1, keepdim=True) / sqrt(3)
        encoding: Tensor = self.linear((harmonics * lengths).unsqueeze(2).to(self.linear.weight.dtype))
        return encoding


_ENCODING, _SPECIES = "network.backbone.force_encoding.", "network.backbone.species.weight"


def without_denoising(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a potential without what only denoising needs, with the same predictions.

    Shown no forces, the encoding is its bias, one vector for all atoms: it is added to that of every species.

    Args:
        weights: by their names in `EsenPotential`.
    """
    kept = {name: w for name, w in weights.items() if not name.startswith((_ENCODING, "noise."))}
    bias = weights.get(_ENCODING + "linear.bias")
    if bias is not None:
        kept[_SPECIES] = weights[_SPECIES] + bias
    return kept
