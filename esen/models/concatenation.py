"""Cutting a tensor along a dimension and joining it again, each the derivative of the other.

PyTorch differentiates `cat` into slices, and every slice, differentiated again, into a zero-filled tensor as large as
the whole. Training on forces differentiates twice; with a dozen pieces an edge those zeros cost more than the products.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


class _Split(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, sizes: Sequence[int], dim: int) -> tuple[Tensor, ...]:
        return tuple(x.split(list(sizes), dim))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.dim = inputs[2]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return concatenate(gradients, ctx.dim), None, None


class _Concatenate(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(dim: int, *pieces: Tensor) -> Tensor:
        return torch.cat(pieces, dim)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.dim = inputs[0]
        ctx.sizes = [piece.shape[ctx.dim] for piece in inputs[1:]]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, *split(gradient, ctx.sizes, ctx.dim)


def split(x: Tensor, sizes: Sequence[int], dim: int) -> tuple[Tensor, ...]:
    """The pieces of x, of the given sizes along `dim`."""
    if len(sizes) == 1:
        return (x,)
    pieces: tuple[Tensor, ...] = _Split.apply(x, sizes, dim)  # type: ignore[no-untyped-call]  # torch's own
    return pieces


def split_rows(x: Tensor) -> tuple[Tensor, ...]:
    """Every index of dimension 1 on its own, which stays as a dimension of one."""
    return split(x, [1] * x.shape[1], dim=1)


def concatenate(pieces: Sequence[Tensor], dim: int) -> Tensor:
    """The pieces one after another along `dim`."""
    if len(pieces) == 1:
        return pieces[0]
    whole: Tensor = _Concatenate.apply(dim, *pieces)  # type: ignore[no-untyped-call]  # torch's own
    return whole
