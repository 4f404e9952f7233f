"""Grids on the sphere are exact up to lmax; the error of a nonlinearity falls with the resolution."""

import pytest
import torch
from e3nn import o3

from esen.models.grid import GridEdges, GridFeedForward, grid_matrices

VECTORS = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(("lmax", "mmax"), [(1, 1), (2, 2), (3, 2), (4, 1)])
@pytest.mark.parametrize("resolution", [None, 12, 14])
def test_projecting_undoes_sampling(lmax: int, mmax: int, resolution: int | None) -> None:
    sample, project = grid_matrices(lmax, mmax, resolution)
    kept = sum(2 * min(l, mmax) + 1 for l in range(lmax + 1))
    weights = torch.tensor(
        [(2 * l + 1) / (2 * min(l, mmax) + 1) for l in range(lmax + 1)], dtype=torch.float64
    )
    expected = torch.cat([weights[l].repeat(2 * min(l, mmax) + 1) for l in range(lmax + 1)])
    assert sample.shape[1] == project.shape[1] == kept
    assert torch.allclose(project.T @ sample, torch.diag(expected), atol=1e-12)


def test_samples_are_values_of_the_spherical_harmonics() -> None:
    sample, _ = grid_matrices(2, 2, 6)
    norms = sample.square().sum(dim=1)  # of a point, Σ_lm Y_lm² = (lmax+1)² / 4π, whatever the point
    assert torch.allclose(norms, torch.full_like(norms, 9 / (4 * torch.pi)))


def equivariance_error(resolution: int | None) -> float:
    torch.manual_seed(0)
    layer = GridFeedForward(2, 4, 8, resolution).double()
    x = torch.randn(20, 9, 4, dtype=torch.float64)
    rotation = o3.rand_matrix(dtype=torch.float64)
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        d = torch.block_diag(*(o3.Irrep(l, 1).D_from_matrix(rotation) for l in range(3)))
    finally:
        torch.set_default_dtype(default)
    with torch.no_grad():
        return float((layer(d @ x) - d @ layer(x)).norm() / layer(x).norm())


def test_the_error_falls_with_the_resolution_and_is_never_zero() -> None:
    errors = [equivariance_error(resolution) for resolution in (6, 10, 14, 20)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1e-4
    assert errors[-1] < 0.1 * errors[0]


def test_along_edges_the_result_depends_on_the_roll() -> None:
    """A roll by π maps the grid onto itself only if the number of longitudes is even."""
    layer = GridEdges(2, 2, 3, None).double()
    generator = torch.Generator().manual_seed(1)
    orders = [
        torch.randn(4, 1 if m == 0 else 2, 3 - m, 3, generator=generator, dtype=torch.float64)
        for m in range(3)
    ]
    extra = torch.randn(4, 3, generator=generator, dtype=torch.float64)

    def rolled(parts: list[torch.Tensor], angle: float) -> list[torch.Tensor]:
        result = [parts[0]]
        for m, x in enumerate(parts[1:], start=1):
            c, s = torch.cos(torch.tensor(m * angle)).double(), torch.sin(torch.tensor(m * angle)).double()
            plus, minus = x[:, :1], x[:, 1:]
            result.append(torch.cat([c * plus - s * minus, s * plus + c * minus], dim=1))
        return result

    before = rolled(layer(extra, orders), 0.4)
    after = layer(extra, rolled(orders, 0.4))
    difference = max(float((a - b).abs().max()) for a, b in zip(before, after, strict=True))
    assert 1e-6 < difference < 0.5
    unrolled = layer(extra, rolled(orders, 2 * torch.pi))
    assert all(torch.allclose(a, b) for a, b in zip(unrolled, layer(extra, orders), strict=True))
