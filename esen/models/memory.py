"""The choice between keeping all intermediate results of the edges and computing them again (`chunks.py`)."""

from typing import get_args

import psutil
import torch

from esen.errors import InputError
from esen.models.so2 import radial_weights
from esen.recipe.mistakes import nearest
from esen.recipe.model import ConservativeSpec, ModelSpec
from esen.recipe.schema import one_of
from esen.recipe.train import MemoryMode

_SHARE = 0.5
"""Largest share of the free memory to fill; the estimate of what is needed has an error of about one third."""


def memory_mode(name: str) -> MemoryMode:
    """Return the memory mode of a name.

    Raises:
        InputError: there is no such mode.
    """
    modes: tuple[MemoryMode, ...] = get_args(MemoryMode)
    if name in modes:
        return modes[modes.index(name)]
    near = nearest(str(name), list(modes))
    hint = f"; did you mean {near!r}?" if near else ""
    raise InputError(f"memory is {name!r}, expected {one_of(modes)}{hint}")


def is_lean(
    mode: MemoryMode, spec: ModelSpec, edges: int, *, dtype: torch.dtype, device: torch.device, training: bool
) -> bool:
    """Return whether only the inputs of the chunks are kept for differentiation.

    Args:
        mode: `fast` keeps everything, `lean` keeps inputs, and `auto` keeps everything if that takes at most half of
            the free memory.
        spec: the network.
        edges: number of edges of the graph.
        dtype: precision of the features.
        device: device of the features.
        training: whether derivatives are themselves differentiated.
    """
    if not torch.is_grad_enabled() or mode != "auto":
        return mode == "lean" and torch.is_grad_enabled()
    return edges * dtype.itemsize * kept_per_edge(spec, training=training) > _SHARE * free_bytes(device)


def kept_per_edge(model: ModelSpec, *, training: bool) -> int:
    """Estimate how many numbers all layers keep per edge for differentiation.

    These are the features of both atoms before and after rotation and weighting, the radial weights and their hidden
    layers, the results of the convolutions, and the message rotated back. Training on gradients keeps about three times
    as many, because every derivative is differentiated again. The measurements are in `docs/results/inference.md`.
    """
    C, H, R = model.sphere_channels, model.hidden_channels, model.edge_channels
    K = (model.lmax + 1) ** 2
    radial = radial_weights(model.lmax, model.mmax, 2 * C)
    reduced = sum(2 * min(l, model.mmax) + 1 for l in range(model.lmax + 1))
    layer = 2 * C * (K + 2 * reduced) + radial + 8 * R
    layer += H * (2 * reduced + model.lmax) + C * (reduced + K)
    again = 3 if training and isinstance(model.forces, ConservativeSpec) else 1
    return model.layers * layer * again


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a GPU, including what torch has reserved and does not use, or of the machine."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(psutil.virtual_memory().available)
