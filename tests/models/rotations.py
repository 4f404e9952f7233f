"""Rotations of coefficients, from e3nn."""

import torch
from e3nn import o3
from torch import Tensor


def wigner(l: int, alpha: float, beta: float, gamma: float) -> Tensor:
    """D^l of the angles about y, x, y. e3nn makes it in the default precision, whatever that of the angles."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        matrix: Tensor = o3.wigner_D(l, *(torch.tensor(angle) for angle in (alpha, beta, gamma)))
    finally:
        torch.set_default_dtype(default)
    return matrix


def block_rotation(lmax: int) -> Tensor:
    """One rotation on all coefficients up to lmax, as a dense matrix."""
    return torch.block_diag(*(wigner(l, 0.3, 1.1, -0.7) for l in range(lmax + 1)))


def rolled(orders: list[Tensor], angle: Tensor) -> list[Tensor]:
    """Each edge turned about itself by its angle: the pair (+m, −m) turns by m times it."""
    turned = [orders[0]]
    for m, x in enumerate(orders[1:], start=1):
        plus, minus = x[:, 0], x[:, 1]
        cos, sin = (f(m * angle)[:, None, None] for f in (torch.cos, torch.sin))
        turned.append(torch.stack([cos * plus - sin * minus, sin * plus + cos * minus], dim=1))
    return turned
