"""Edges in chunks: what is done for every edge is done for some thousand at a time, and the sums are added up.

A chunk is the unit of the memory-lean mode, which keeps of a chunk only what went in, and computes it once more when it
is differentiated: half as much arithmetic again, for a fraction of the memory. Both modes do the same operations in
the same order, so they give the same bits, and which is taken may depend on the memory that happens to be free.
Training on forces differentiates the derivative too, which keeps what was computed once more: there the lean mode saves
less than half.
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

_SMALLEST = {"cpu": 2048}
_SMALLEST_ELSEWHERE = 32768
_MOST = 64
"""A chunk adds to the features of all atoms; were there too many, that would cost more than their edges."""


def chunk_sizes(edges: int, device: torch.device) -> list[int]:
    """How many edges each chunk has: a function of their number and the kind of device alone.

    >>> chunk_sizes(5000, torch.device("cpu"))
    [2048, 2048, 904]
    """
    size = max(_SMALLEST.get(device.type, _SMALLEST_ELSEWHERE), -(-edges // _MOST))
    return [min(size, edges - start) for start in range(0, edges, size)] or [0]


def recomputed(function: Callable[..., Result], *inputs: Any) -> Result:
    """The result of a function, of which nothing but its inputs is kept for differentiation."""
    result: Result = checkpoint(
        function, *inputs, use_reentrant=False, preserve_rng_state=False, determinism_check="none"
    )
    return result


@dataclass(frozen=True, eq=False)
class EdgeChunks:
    """The frames of all edges of a graph.

    Attributes:
        frames: one a chunk, at least one.
        lean: whether to keep only inputs.
    """

    frames: tuple[EdgeFrame, ...]
    lean: bool

    def sum(self, messages: Callable[[EdgeFrame], Float[Tensor, "N K C"]]) -> Float[Tensor, "N K C"]:
        """The sum over all edges of what a function gives for those of one frame."""
        total = self.run(messages, self.frames[0])
        for frame in self.frames[1:]:
            total = total + self.run(messages, frame)
        return total

    def run(self, function: Callable[..., Result], *inputs: Any) -> Result:
        """A function of inputs, in this mode."""
        return recomputed(function, *inputs) if self.lean else function(*inputs)
