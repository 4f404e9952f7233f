"""What to say when memory is too small."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from esen.errors import InputError
from esen.graph.types import Graph

_NO_MEMORY = "can't allocate memory"  # how torch ends on a CPU, in a plain RuntimeError


@contextmanager
def must_fit(graph: Graph) -> Iterator[None]:
    """Within its block, a lack of memory is an error that names the batch and the remedy.

    Raises:
        InputError: the batch does not fit.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        short = isinstance(error, torch.OutOfMemoryError | MemoryError) or _NO_MEMORY in str(error)
        if not short:
            raise
        many = graph.num_structures > 1
        halved = f"write train.micro_batch_atoms: {graph.num_atoms // 2} to do it in parts"
        remedy = halved if many else "make the model smaller"
        raise InputError(
            f"out of memory: a batch of {graph.num_structures} structures, {graph.num_atoms} atoms and"
            f" {graph.num_edges} edges does not fit; {remedy}"
        ) from error
