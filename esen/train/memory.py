"""Error messages for a lack of memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from esen.errors import InputError
from esen.graph.types import Graph

_WORDS = ("can't allocate memory", "out of memory")
"""In plain RuntimeErrors: those of torch on a CPU, and those of CUDA and NCCL."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception was raised for lack of memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


@contextmanager
def must_fit(graph: Graph) -> Iterator[None]:
    """Turn a lack of memory within the block into an error that names the batch and the remedy.

    Raises:
        InputError: The batch does not fit in memory.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        halved = f"write train.micro_batch_atoms: {graph.num_atoms // 2} to compute it in parts"
        remedy = halved if graph.num_structures > 1 else "make the model smaller"
        raise InputError(
            f"out of memory: a batch of {graph.num_structures} structures, {graph.num_atoms} atoms and"
            f" {graph.num_edges} edges does not fit; {remedy}"
        ) from error
