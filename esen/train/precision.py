"""Effect of `train.precision` on the weights and on the matrix products of a step."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from esen.models.compiled import require_compiler
from esen.models.potential import EsenPotential
from esen.recipe.train import Precision, TrainSpec


def weights_dtype(precision: Precision) -> torch.dtype:
    """Return the type of the weights, in which a checkpoint predicts too."""
    return torch.float64 if precision == "float64" else torch.float32


def prepared(potential: EsenPotential, train: TrainSpec) -> EsenPotential:
    """Set precision of weights and products, and use of memory, as the training asks; return the potential itself."""
    products = torch.bfloat16 if train.precision == "bf16" else None
    return potential.to(weights_dtype(train.precision)).use_products(products).use_memory(train.memory)


@contextmanager
def matrix_products(precision: Precision, device: torch.device) -> Iterator[None]:
    """Let a GPU multiply float32 matrices within the block in TF32 if the precision is `tf32`, else in float32.

    Afterwards the setting is as before. Only GPUs have TF32; on other devices nothing is changed.
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
    """Return notes for the user on how the steps of a training will be computed.

    Raises:
        InputError: The steps are to be compiled, and this machine cannot.
    """
    if train.compile:
        require_compiler(device)
    if train.precision == "tf32" and device.type != "cuda":
        return [f"note: only GPUs have train.precision tf32; on {device.type} it is float32"]
    return []
