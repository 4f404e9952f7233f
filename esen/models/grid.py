"""Functions on the sphere sampled on a grid: the paper's "discrete" representation, whose error breaks conservation.

A grid of `latitudes` × `longitudes` points samples Σ_lm x_lm Y_lm. A nonlinearity is applied at every point, and the
result is projected back to degrees up to lmax. Components above lmax are aliased, so the map is equivariant only in the
limit of a fine grid. Source: Fu et al. (2025), section 4; grids of e3nn (`ToS2Grid`, `FromS2Grid`).
"""

from functools import lru_cache
from math import sqrt

import torch
from e3nn import o3
from jaxtyping import Float
from torch import Tensor, nn

from esen.models.concatenation import concatenate, split
from esen.models.constants import constant
from esen.models.mlp import mlp
from esen.models.so2 import Orders


@lru_cache
def grid_matrices(
    lmax: int, mmax: int, resolution: int | None
) -> tuple[Float[Tensor, "P K"], Float[Tensor, "P K"]]:
    """Return the matrix that samples coefficients on the grid and the one that projects samples back, in float64.

    Degrees above mmax, which have only the orders |m| ≤ mmax, are weighted by √((2l+1)/(2·mmax+1)) in both matrices, as
    in the published code.

    Args:
        lmax: highest degree.
        mmax: highest order of the coefficients, which are ordered by degree.
        resolution: number of latitudes and of longitudes. None for 2(lmax+1) latitudes with one more longitude, or with
            2·mmax+1 longitudes where mmax < lmax.

    Returns:
        The two matrices, each (points, coefficients).
    """
    latitudes = resolution or 2 * (lmax + 1)
    longitudes = resolution or (latitudes + 1 if mmax == lmax else 2 * mmax + 1)
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # e3nn computes the weights of its quadrature in it
    try:
        to_grid = o3.ToS2Grid(lmax, (latitudes, longitudes), normalization="integral", dtype=torch.float64)
        from_grid = o3.FromS2Grid(
            (latitudes, longitudes), lmax, normalization="integral", dtype=torch.float64
        )
    finally:
        torch.set_default_dtype(default)
    sample = torch.einsum("mbi,am->bai", to_grid.shb, to_grid.sha).flatten(0, 1)
    project = torch.einsum("am,mbi->bai", from_grid.sha, from_grid.shb).flatten(0, 1)
    orders = [(l, m) for l in range(lmax + 1) for m in range(-l, l + 1)]
    weight = torch.tensor(
        [sqrt((2 * l + 1) / (2 * min(l, mmax) + 1)) for l, _ in orders], dtype=torch.float64
    )
    kept = [i for i, (_, m) in enumerate(orders) if abs(m) <= mmax]
    return (sample * weight)[:, kept], (project * weight)[:, kept]


@constant
def _matrices_for(
    lmax: int,
    mmax: int,
    resolution: int | None,
    order: tuple[int, ...] | None,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Float[Tensor, "P K"], Float[Tensor, "P K"]]:
    """Return `grid_matrices` in a precision and on a device, with the columns in `order`."""
    sample, project = (matrix.to(device, dtype) for matrix in grid_matrices(lmax, mmax, resolution))
    return (sample, project) if order is None else (sample[:, list(order)], project[:, list(order)])


class GridFeedForward(nn.Module):
    """Sample, mix the channels at every point (Linear – SiLU – Linear – SiLU – Linear, no biases), project back.

    Args:
        lmax: highest degree.
        channels: number of input and output channels.
        hidden: width of the hidden layers.
        resolution: as in `grid_matrices`.
    """

    def __init__(self, lmax: int, channels: int, hidden: int, resolution: int | None) -> None:
        super().__init__()
        self.grid = (lmax, lmax, resolution)
        self.mix = mlp(channels, hidden, hidden, channels, bias=False)

    def forward(self, x: Float[Tensor, "N K C"]) -> Float[Tensor, "N K C"]:
        """Return the update of every atom."""
        sample, project = _matrices_for(*self.grid, None, x.dtype, x.device)
        update: Tensor = project.T @ self.mix(sample @ x)
        return update


class GridEdges(nn.Module):
    """SiLU at every point of a grid in the edge frame; the scalars are SiLU of an additional output instead.

    The grid does not follow the roll of the edge frame, so the energy depends on that roll. In the published code the
    roll is random and the energy not even deterministic; here it is deterministic and jumps where the frame does, at
    n_y = 0.

    Args:
        lmax: highest degree.
        mmax: highest order.
        channels: number of channels of the features and of additional scalars.
        resolution: as in `grid_matrices`.
    """

    def __init__(self, lmax: int, mmax: int, channels: int, resolution: int | None) -> None:
        super().__init__()
        self.extra = channels
        self.grid = (lmax, mmax, resolution)
        reduced = [(l, m) for l in range(lmax + 1) for m in range(-l, l + 1) if abs(m) <= mmax]
        signs = [s for m in range(mmax + 1) for s in ((m, -m) if m else (0,))]
        self.order = tuple(reduced.index((l, s)) for s in signs for l in range(abs(s), lmax + 1))

    def forward(self, extra: Float[Tensor, "E extra"], orders: Orders) -> Orders:
        """Apply the nonlinearity to features in the edge frame."""
        rows = concatenate(
            [x.flatten(1, 2) for x in orders], dim=1
        )  # (E, K, C), in the order of `self.order`
        sample, project = _matrices_for(*self.grid, self.order, rows.dtype, rows.device)
        activated = project.T @ nn.functional.silu(sample @ rows)
        _, others = split(activated, [1, rows.shape[1] - 1], dim=1)
        activated = concatenate([nn.functional.silu(extra).unsqueeze(1), others], dim=1)
        pieces = split(activated, [x.shape[1] * x.shape[2] for x in orders], dim=1)
        return [piece.unflatten(1, x.shape[1:3]) for piece, x in zip(pieces, orders, strict=True)]
