"""Rotations of edges onto the polar axis agree with the spherical harmonics of e3nn."""

import numpy as np
import pytest
import torch
from e3nn import o3
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from esen.models.wigner import edge_wigner

AXES = [[s * (a == 0), s * (a == 1), s * (a == 2)] for a in range(3) for s in (1.0, -1.0)]


def near_axes() -> Tensor:
    """Return the six axes and directions at 1e-7 and 1e-3 from them."""
    generator = torch.Generator().manual_seed(0)
    axes = torch.tensor(AXES, dtype=torch.float64)
    beside = [axes + e * torch.randn(6, 3, generator=generator, dtype=torch.float64) for e in (1e-7, 1e-3)]
    return torch.nn.functional.normalize(torch.cat([axes, *beside]), dim=1)


def random_directions(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(
        torch.randn(count, 3, generator=generator, dtype=torch.float64), dim=1
    )


@pytest.mark.parametrize("l", range(9))
def test_turns_spherical_harmonics(l: int) -> None:
    directions = torch.cat([near_axes(), random_directions(50)])
    blocks = edge_wigner(directions, max(l, 1), max(l, 1))
    rotation = blocks[1]
    points = random_directions(20, seed=1)
    turned = o3.spherical_harmonics(l, torch.einsum("eij,pj->epi", rotation, points), True)
    expected = torch.einsum("eij,pj->epi", blocks[l], o3.spherical_harmonics(l, points, True))
    assert torch.allclose(turned, expected, rtol=0, atol=1e-12)


def test_puts_the_edge_on_the_polar_axis_by_a_proper_rotation() -> None:
    directions = torch.cat([near_axes(), random_directions(50)])
    rotation = edge_wigner(directions, 1, 1)[1]
    pole = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    assert torch.allclose(
        (rotation @ directions.unsqueeze(2)).squeeze(2), pole.expand_as(directions), atol=1e-14
    )
    assert torch.allclose(torch.linalg.det(rotation), torch.ones(len(directions), dtype=torch.float64))


@pytest.mark.parametrize(("lmax", "mmax"), [(2, 1), (3, 2), (4, 0), (6, 2)])
def test_keeps_the_rows_that_are_asked_for(lmax: int, mmax: int) -> None:
    directions = random_directions(5)
    full = edge_wigner(directions, lmax, lmax)
    for l, block in enumerate(edge_wigner(directions, lmax, mmax)):
        kept = min(l, mmax)
        expected = full[l][:, l - kept : l + kept + 1]
        assert torch.allclose(block, expected, rtol=0, atol=1e-14)


@given(st.integers(0, 2**32 - 1))
def test_is_differentiable_everywhere(seed: int) -> None:
    """R(n) n = e_y for all n, so the derivative of R(n) n along the sphere vanishes."""
    n = torch.cat([near_axes(), random_directions(3, seed)]).requires_grad_()
    unit = n / n.norm(dim=1, keepdim=True)
    product = (edge_wigner(unit, 1, 1)[1] @ unit.unsqueeze(2)).squeeze(2)
    weights = torch.from_numpy(np.random.default_rng(seed).normal(size=product.shape))
    (gradient,) = torch.autograd.grad((product * weights).sum(), n)
    assert gradient.abs().max() < 1e-12
