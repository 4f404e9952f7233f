"""Functions on the sphere sampled on a grid: the paper's "discrete" representation, whose error breaks conservation.

A grid of `latitudes` × `longitudes` points samples Σ_lm x_lm Y_lm. A nonlinearity is applied point by point and the
result projected back to degrees up to lmax. What lies above lmax is aliased, so the map is equivariant only as far as
the grid is fine. Source: Fu et al. (2025), section 4; grids of e3nn (`ToS2Grid`, `FromS2Grid`).
"""

from functools import lru_cache
from math import sqrt

import torch
from e3nn import o3
from jaxtyping import Float
from torch import Tensor, nn

from esen.models.concatenation import concatenate, split
from esen.models.so2 import Orders


@lru_cache
def grid_matrices(
    lmax: int, mmax: int, resolution: int | None
) -> tuple[Float[Tensor, "P K"], Float[Tensor, "P K"]]:
    """The matrices that sample coefficients on the grid, and that project samples back; float64.

    Degrees above mmax, of which only the orders |m| ≤ mmax are given, are weighted by √((2l+1)/(2·mmax+1)) both ways,
    as the published code does.

    Args:
        lmax: highest degree.
        mmax: highest order among the coefficients, which are l-major.
        resolution: latitudes and longitudes; None: 2(lmax+1), and one more longitude, or 2·mmax+1 longitudes
            where mmax < lmax.

    Returns:
        (points, coefficients) each.
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


class GridFeedForward(nn.Module):
    """Sample, mix channels at every point (Linear – SiLU – Linear – SiLU – Linear, no biases), project back.

    Args:
        lmax: highest degree.
        channels: in and out.
        hidden: in between.
        resolution: as `grid_matrices`.
    """

    def __init__(self, lmax: int, channels: int, hidden: int, resolution: int | None) -> None:
        super().__init__()
        self.grid = (lmax, lmax, resolution)
        self.mix = nn.Sequential(
            nn.Linear(channels, hidden, bias=False),
            nn.SiLU(),
            nn.Linear(hidden, hidden, bias=False),
            nn.SiLU(),
            nn.Linear(hidden, channels, bias=False),
        )

    def forward(self, x: Float[Tensor, "N K C"]) -> Float[Tensor, "N K C"]:
        """The update of every atom."""
        sample, project = (matrix.to(x) for matrix in grid_matrices(*self.grid))
        update: Tensor = project.T @ self.mix(sample @ x)
        return update


class GridEdges(nn.Module):
    """SiLU at every point of a grid about the edge; the scalars go through SiLU of an extra output instead.

    The grid does not turn with the edge's roll, so the energy depends on the edge frame: not even deterministic in
    the published code, whose roll is random. Here it is deterministic, and jumps where the frame does (n_y = 0).

    Args:
        lmax: highest degree.
        mmax: highest order.
        channels: of the features; as many extra scalars are needed.
        resolution: as `grid_matrices`.
    """

    def __init__(self, lmax: int, mmax: int, channels: int, resolution: int | None) -> None:
        super().__init__()
        self.extra = channels
        self.grid = (lmax, mmax, resolution)
        reduced = [(l, m) for l in range(lmax + 1) for m in range(-l, l + 1) if abs(m) <= mmax]
        signs = [s for m in range(mmax + 1) for s in ((m, -m) if m else (0,))]
        self.order = [reduced.index((l, s)) for s in signs for l in range(abs(s), lmax + 1)]

    def forward(self, extra: Float[Tensor, "E extra"], orders: Orders) -> Orders:
        """Apply to features in the edge frame."""
        rows = concatenate(
            [x.flatten(1, 2) for x in orders], dim=1
        )  # (E, K, C), in the order of `self.order`
        sample, project = (matrix.to(rows)[:, self.order] for matrix in grid_matrices(*self.grid))
        activated = project.T @ nn.functional.silu(sample @ rows)
        _, others = split(activated, [1, rows.shape[1] - 1], dim=1)
        activated = concatenate([nn.functional.silu(extra).unsqueeze(1), others], dim=1)
        pieces = split(activated, [x.shape[1] * x.shape[2] for x in orders], dim=1)
        return [piece.unflatten(1, x.shape[1:3]) for piece, x in zip(pieces, orders, strict=True)]
