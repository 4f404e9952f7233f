"""Splitting and concatenating, with all derivatives."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from esen.models.concatenation import concatenate, split, split_rows


def random(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def products(*pieces: Tensor) -> Tensor:
    """Return functions whose second derivatives do not vanish."""
    return torch.stack([piece.pow(3).sum() for piece in pieces])


@pytest.mark.parametrize(("sizes", "dim"), [([1, 2, 3], 1), ([4], 0), ([0, 4], 0), ([1, 1], 2)])
def test_split_is_that_of_torch(sizes: list[int], dim: int) -> None:
    x = random(4, 6, 2)
    for ours, expected in zip(split(x, sizes, dim), x.split(sizes, dim), strict=True):
        assert torch.equal(ours, expected)
    assert torch.equal(concatenate(split(x, sizes, dim), dim), x)


def test_split_rows_keeps_the_dimension() -> None:
    rows = split_rows(random(4, 6, 2))
    assert [row.shape for row in rows] == [(4, 1, 2)] * 6


def test_derivatives_of_split() -> None:
    def function(x: Tensor) -> Tensor:
        return products(*split(x, [1, 2, 1], dim=1))

    assert gradcheck(function, random(2, 4))
    assert gradgradcheck(function, random(2, 4))


def test_derivatives_of_concatenate() -> None:
    def function(*pieces: Tensor) -> Tensor:
        return concatenate(pieces, dim=1).pow(3).sum(dim=0)

    pieces = (random(2, 1), random(2, 3))
    assert gradcheck(function, pieces)
    assert gradgradcheck(function, pieces)


def test_an_unused_piece_has_a_gradient_of_zero() -> None:
    x = random(2, 4)
    _, last = split(x, [3, 1], dim=1)
    (gradient,) = torch.autograd.grad(last.sum(), x)
    assert torch.equal(gradient, torch.tensor([[0.0, 0, 0, 1]] * 2, dtype=torch.float64))


def test_vmap() -> None:
    x = random(5, 2, 4).detach()

    def gradient(row: Tensor) -> Tensor:
        return torch.func.grad(lambda r: products(*split(concatenate([r, r], 1), [3, 5], 1)).sum())(row)

    together = torch.func.vmap(gradient)(x)
    assert torch.allclose(together, torch.stack([gradient(row) for row in x]), rtol=0, atol=1e-14)
    assert torch.allclose(together, 6 * x.square(), rtol=0, atol=1e-13)
