"""What `train.precision` means: of the weights, and of the products of a step."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import assert_never

import torch

from esen.models.compiled import require_compiler
from esen.models.potential import EsenPotential
from esen.recipe.train import Precision, TrainSpec


def weights_dtype(precision: Precision) -> torch.dtype:
    """Of the weights, and so of a checkpoint and of what it predicts."""
    match precision:
        case "float64":
            return torch.float64
        case "float32" | "tf32" | "bf16":
            return torch.float32
        case _:
            assert_never(precision)


def prepared(potential: EsenPotential, train: TrainSpec) -> EsenPotential:
    """The potential itself, with weights and products in the precision of the training, and its choice of memory."""
    products = torch.bfloat16 if train.precision == "bf16" else None
    return potential.to(weights_dtype(train.precision)).use_products(products).use_memory(train.memory)


@contextmanager
def matrix_products(precision: Precision, device: torch.device) -> Iterator[None]:
    """Within its block a GPU multiplies float32 matrices in TF32 if that is asked for, and in float32 if not.

    Afterwards the setting is as it was. Only GPUs have TF32; elsewhere nothing is changed.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def check_steps(train: TrainSpec, device: torch.device) -> list[str]:
    """Notes for the user on how the steps of a training will be computed.

    Raises:
        InputError: they are to be compiled, and cannot be here.
    """
    if train.compile:
        require_compiler(device)
    if train.precision == "tf32" and device.type != "cuda":
        return [f"note: train.precision tf32 is of GPUs; on {device.type} it is float32"]
    return []
