"""Edges in chunks: messages are computed for a few thousand edges at a time, and their sums are added.

The memory-lean mode keeps only the inputs of a chunk and computes it again when it is differentiated. It uses a
fraction of the memory for 50 % more arithmetic. Both modes do the same operations in the same order, so their results
are bitwise identical and the choice may depend on the free memory. Training on forces also differentiates the
derivative, which keeps what has been computed again; there the lean mode saves less than half of the memory.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from esen.models.frame import EdgeFrame

Result = TypeVar("Result")

SMALLEST_CHUNK = {"cpu": 2048, "cuda": 32768}
"""Smallest number of edges in a chunk by type of device, if there are as many."""
MOST_CHUNKS = 64
"""Largest number of chunks. Each adds to the features of all atoms, which costs more than its edges if it is small."""


def chunk_sizes(edges: int, device: torch.device) -> list[int]:
    """Return the number of edges of each chunk, which depends only on the number of edges and the type of device.

    >>> chunk_sizes(5000, torch.device("cpu"))
    [2048, 2048, 904]
    """
    size = max(SMALLEST_CHUNK.get(device.type, SMALLEST_CHUNK["cuda"]), -(-edges // MOST_CHUNKS))
    return [min(size, edges - start) for start in range(0, edges, size)] or [0]


def recomputed(function: Callable[..., Result], *inputs: Any) -> Result:
    """Return the result of a function and keep only its inputs for differentiation."""
    result: Result = checkpoint(
        function, *inputs, use_reentrant=False, preserve_rng_state=False, determinism_check="none"
    )
    return result


@dataclass(frozen=True, eq=False)
class EdgeChunks:
    """The frames of all edges of a graph.

    Attributes:
        frames: one per chunk, at least one.
        lean: whether only the inputs of a chunk are kept for differentiation.
    """

    frames: tuple[EdgeFrame, ...]
    lean: bool

    def sum(self, messages: Callable[[EdgeFrame], Float[Tensor, "N K C"]]) -> Float[Tensor, "N K C"]:
        """Return the sum over all chunks of a function of their frames."""
        total = self.run(messages, self.frames[0])
        for frame in self.frames[1:]:
            total = total + self.run(messages, frame)
        return total

    def run(self, function: Callable[..., Result], *inputs: Any) -> Result:
        """Call a function of any inputs in the mode of these edges."""
        return recomputed(function, *inputs) if self.lean else function(*inputs)
