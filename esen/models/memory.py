"""Whether all that a graph's edges need is kept, or computed once more."""

from typing import get_args

import psutil
import torch

from esen.errors import InputError
from esen.recipe.cost import kept_per_edge
from esen.recipe.mistakes import nearest
from esen.recipe.model import ModelSpec
from esen.recipe.outline import one_of
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


def free_bytes(device: torch.device) -> int:
    """Memory that may still be had: of the GPU with what torch holds and does not use, or of the machine."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(psutil.virtual_memory().available)
