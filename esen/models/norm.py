"""Normalisation of scalars by mean and variance, and of equivariant features by their root mean square (rms)."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import Function

from esen.models.concatenation import concatenate
from esen.models.constants import constant
from esen.models.so3 import expand_degrees, split_scalars


class EquivariantRMSNorm(nn.Module):
    """Divide the features of each atom by one number, their rms over channels and degrees.

    After the mean over channels has been subtracted from l = 0,

        s = (1/C) Σ_c 1/(lmax+1) Σ_l 1/(2l+1) Σ_m x_lmc²,    y_lmc = w_lc x_lmc / √(s + ε)   (+ b_c where l = 0).

    Every degree has the same weight in s, whatever its number of orders.

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
        """Normalise the features of every atom."""
        scalars, rest = split_scalars(x)
        x = concatenate([scalars - scalars.mean(dim=2, keepdim=True), rest], dim=1)
        shares = _shares_of_rows(self.lmax, x.dtype, x.device)
        mean_square = (x.square().mean(dim=2) * shares).sum(dim=1)  # (N,)
        scale = torch.rsqrt(mean_square + self.eps)
        scalars, rest = split_scalars(x * scale[:, None, None] * expand_degrees(self.weight))
        return concatenate([scalars + self.bias, rest], dim=1)


@constant
def _shares_of_rows(lmax: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, " K"]:
    """Return 1 / ((2l + 1)(lmax + 1)) for every (l, m)."""
    shares = [1 / ((2 * l + 1) * (lmax + 1)) for l in range(lmax + 1) for _ in range(2 * l + 1)]
    return torch.tensor(shares, dtype=dtype, device=device)


class _LayerNorm(Function):
    """PyTorch's layer norm with an explicit derivative, which can be differentiated to any order."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        return nn.functional.layer_norm(x, weight.shape, weight, bias, eps)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, weight, _, ctx.eps = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        centred = x - x.mean(dim=-1, keepdim=True)
        scale = torch.rsqrt(centred.square().mean(dim=-1, keepdim=True) + ctx.eps)
        normed = centred * scale
        by_x = by_weight = by_bias = None
        if ctx.needs_input_grad[0]:
            weighed = gradient * weight
            along = (weighed * normed).mean(dim=-1, keepdim=True)
            by_x = scale * (weighed - weighed.mean(dim=-1, keepdim=True) - normed * along)
        if ctx.needs_input_grad[1]:
            by_weight = (gradient * normed).flatten(0, -2).sum(dim=0)
        if ctx.needs_input_grad[2]:
            by_bias = gradient.flatten(0, -2).sum(dim=0)
        return by_x, by_weight, by_bias, None


class LayerNorm(nn.LayerNorm):
    """y = w (x − ⟨x⟩) / √(⟨(x − ⟨x⟩)²⟩ + ε) + b over the last dimension.

    The third derivative of PyTorch's own layer norm is wrong (torch 2.13), and so are third derivatives of the energy
    computed with it. Here derivatives of every order are correct.
    """

    def forward(self, x: Float[Tensor, "*rows C"]) -> Float[Tensor, "*rows C"]:
        """Normalise every row."""
        x = x.to(self.weight.dtype)  # norms keep their precision where products are in bfloat16
        normed: Tensor = _LayerNorm.apply(x, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
        return normed
