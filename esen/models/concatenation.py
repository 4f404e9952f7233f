"""Splitting a tensor along a dimension and concatenating tensors; each operation is the derivative of the other.

The derivative of PyTorch's `cat` consists of slices, and the derivative of every slice is a tensor of zeros as large as
the whole. Training on forces differentiates twice; with a dozen tensors per edge these zeros cost more than the matrix
products.
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
    def forward(dim: int, *tensors: Tensor) -> Tensor:
        return torch.cat(tensors, dim)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.dim = inputs[0]
        ctx.sizes = [tensor.shape[ctx.dim] for tensor in inputs[1:]]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, *split(gradient, ctx.sizes, ctx.dim)


def split(x: Tensor, sizes: Sequence[int], dim: int) -> tuple[Tensor, ...]:
    """Split x into tensors of the given sizes along `dim`."""
    if len(sizes) == 1:
        return (x,)
    tensors: tuple[Tensor, ...] = _Split.apply(x, sizes, dim)  # type: ignore[no-untyped-call]  # of torch
    return tensors


def split_rows(x: Tensor) -> tuple[Tensor, ...]:
    """Split x into tensors of size 1 along dimension 1, which is kept."""
    return split(x, [1] * x.shape[1], dim=1)


def concatenate(tensors: Sequence[Tensor], dim: int) -> Tensor:
    """Concatenate tensors along `dim`."""
    if len(tensors) == 1:
        return tensors[0]
    whole: Tensor = _Concatenate.apply(dim, *tensors)  # type: ignore[no-untyped-call]  # of torch
    return whole
