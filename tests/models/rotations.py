"""Rotations of coefficients, from e3nn."""

import torch
from e3nn import o3
from torch import Tensor


def wigner(l: int, alpha: float, beta: float, gamma: float) -> Tensor:
    """Return D^l of the angles about y, x, y. e3nn computes it in the default precision, not in that of the angles."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        matrix: Tensor = o3.wigner_D(l, *(torch.tensor(angle) for angle in (alpha, beta, gamma)))
    finally:
        torch.set_default_dtype(default)
    return matrix


def block_rotation(lmax: int) -> Tensor:
    """Return the matrix of one rotation on all coefficients up to lmax."""
    return torch.block_diag(*(wigner(l, 0.3, 1.1, -0.7) for l in range(lmax + 1)))


def rolled(orders: list[Tensor], angle: Tensor) -> list[Tensor]:
    """Roll each edge by its angle φ, which rotates the pair (+m, −m) by mφ."""
    turned = [orders[0]]
    for m, x in enumerate(orders[1:], start=1):
        plus, minus = x[:, 0], x[:, 1]
        cos, sin = (f(m * angle)[:, None, None] for f in (torch.cos, torch.sin))
        turned.append(torch.stack([cos * plus - sin * minus, sin * plus + cos * minus], dim=1))
    return turned
