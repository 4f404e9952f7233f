"""Equivariant root-mean-square normalisation."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from esen.models.pieces import join
from esen.models.so3 import expand_degrees, split_scalars


class EquivariantRMSNorm(nn.Module):
    """Divide an atom's features by one number, the rms over its channels and degrees.

    After the channel mean of l = 0 is taken off,

        s = (1/C) Σ_c 1/(lmax+1) Σ_l 1/(2l+1) Σ_m x_lmc²,    y_lmc = w_lc x_lmc / √(s + ε)   (+ b_c where l = 0).

    Each degree has the same say in s, whatever its number of orders.

    Args:
        lmax: highest degree.
        channels: C.
        eps: ε.
    """

    def __init__(self, lmax: int, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.lmax = lmax
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(lmax + 1, channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "N K C"]) -> Float[Tensor, "N K C"]:
        """Normalise every atom."""
        scalars, rest = split_scalars(x)
        x = join([scalars - scalars.mean(dim=2, keepdim=True), rest], dim=1)
        share = [1 / ((2 * l + 1) * (self.lmax + 1)) for l in range(self.lmax + 1) for _ in range(2 * l + 1)]
        mean_square = (x.square().mean(dim=2) * x.new_tensor(share)).sum(dim=1)  # (N,)
        scale = torch.rsqrt(mean_square + self.eps)
        scalars, rest = split_scalars(x * scale[:, None, None] * expand_degrees(self.weight))
        return join([scalars + self.bias, rest], dim=1)
