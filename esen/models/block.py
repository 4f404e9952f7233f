"""One layer of eSEN: messages along edges, then a feed-forward network on every atom.

Each acts on normalised features, and its result is added to the features.
"""

from jaxtyping import Float
from torch import Tensor, nn

from esen.models.chunks import EdgeChunks
from esen.models.frame import EdgeFrame
from esen.models.nonlinearity import make_edge_activation, make_feed_forward
from esen.models.norm import EquivariantRMSNorm
from esen.models.radial import RadialMLP
from esen.models.so2 import SO2Linear, radial_weights
from esen.recipe.model import ModelSpec


class Edgewise(nn.Module):
    """m_ij = u(d) Dᵀ conv₂(f(conv₁(w(d, Z_j, Z_i) · D [x_j | x_i]))), summed over neighbours j."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        lmax, mmax = spec.lmax, spec.mmax
        channels, hidden = spec.sphere_channels, spec.hidden_channels
        weights = radial_weights(lmax, mmax, 2 * channels)
        self.radial = RadialMLP(spec.radial.count, spec.edge_channels, weights)
        self.activation = make_edge_activation(spec)
        self.conv1 = SO2Linear(lmax, mmax, 2 * channels, hidden, extra=self.activation.extra)
        self.conv2 = SO2Linear(lmax, mmax, hidden, channels)

    def forward(self, x: Float[Tensor, "N K C"], frame: EdgeFrame) -> Float[Tensor, "N K C"]:
        """Return the sum of messages at every atom."""
        extra, hidden = self.conv1(frame.to_edges(x), self.radial(frame.scalars))
        _, messages = self.conv2(self.activation(extra, hidden))
        return frame.to_atoms(messages)


class Block(nn.Module):
    """x ← x + edgewise(norm₁(x));  x ← x + feed_forward(norm₂(x))."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.norm1 = EquivariantRMSNorm(spec.lmax, spec.sphere_channels)
        self.edgewise = Edgewise(spec)
        self.norm2 = EquivariantRMSNorm(spec.lmax, spec.sphere_channels)
        self.feed_forward = make_feed_forward(spec)

    def forward(self, x: Float[Tensor, "N K C"], edges: EdgeChunks) -> Float[Tensor, "N K C"]:
        """Return the features after the layer."""
        normed = self.norm1(x)
        x = x + edges.sum(lambda frame: self.edgewise(normed, frame))
        return x + edges.run(self._update, x)

    def _update(self, x: Float[Tensor, "N K C"]) -> Float[Tensor, "N K C"]:
        update: Tensor = self.feed_forward(self.norm2(x))
        return update
