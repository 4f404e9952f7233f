"""Whether all that a graph's edges need is kept, or computed once more."""

from typing import get_args

import psutil
import torch

from esen.errors import InputError
from esen.recipe.mistakes import nearest
from esen.recipe.model import ConservativeSpec, ModelSpec
from esen.recipe.schema import one_of
from esen.recipe.train import MemoryMode

_SHARE = 0.5
"""Of the free memory that may be filled by an estimate which is good to about a third."""


def memory_mode(name: str) -> MemoryMode:
    """The mode of a name.

    Raises:
        InputError: it is none.
    """
    modes: tuple[MemoryMode, ...] = get_args(MemoryMode)
    for mode in modes:
        if name == mode:
            return mode
    near = nearest(str(name), list(modes))
    hint = f"; did you mean {near!r}?" if near else ""
    raise InputError(f"memory is {name!r}, expected {one_of(modes)}{hint}")


def is_lean(
    mode: MemoryMode, spec: ModelSpec, edges: int, *, dtype: torch.dtype, device: torch.device, training: bool
) -> bool:
    """Whether to keep only inputs of chunks of edges.

    Args:
        mode: `fast`: keep all; `lean`: keep inputs; `auto`: keep all if it takes at most half of the free memory.
        spec: the network.
        edges: of the graph.
        dtype: of the features.
        device: where they are.
        training: whether derivatives are themselves differentiated.
    """
    if not torch.is_grad_enabled() or mode != "auto":
        return mode == "lean" and torch.is_grad_enabled()
    return edges * dtype.itemsize * kept_per_edge(spec, training=training) > _SHARE * free_bytes(device)


def kept_per_edge(model: ModelSpec, *, training: bool) -> int:
    """About how many numbers an edge leaves in memory, over all layers, to be differentiated.

    These are the features of both ends before and after rotation and weighting, the radial weights and the hidden
    layers behind them, the results of the convolutions, and the message rotated back. Training on gradients keeps about
    three times as many, since every derivative is differentiated again. The measurements are in
    `docs/results/inference.md`.
    """
    C, H, R = model.sphere_channels, model.hidden_channels, model.edge_channels
    K = (model.lmax + 1) ** 2
    degrees = range(model.lmax, model.lmax - model.mmax, -1)  # how many have order m, for m = 1 … mmax
    radial = 2 * C * (model.lmax + 1 + sum(degrees))  # one weight per degree, order m ≥ 0 and input channel
    reduced = sum(2 * min(l, model.mmax) + 1 for l in range(model.lmax + 1))
    layer = 2 * C * (K + 2 * reduced) + radial + 8 * R
    layer += H * (2 * reduced + model.lmax) + C * (reduced + K)
    again = 3 if training and isinstance(model.forces, ConservativeSpec) else 1
    return model.layers * layer * again


def free_bytes(device: torch.device) -> int:
    """Memory that may still be had: of the GPU with what torch holds and does not use, or of the machine."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(psutil.virtual_memory().available)
