"""Training with several processes. `torchrun` starts them; each takes a share of the structures of every batch.

The means of the loss are over the labels of the whole batch (`step.py`), so that the sum of the gradients of all shares
is, up to rounding, the gradient that one process would compute. Every process then makes the same step, and all hold
the same weights and the same progress. Only the first process writes files, tracks and shows progress.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from esen.errors import InputError, first_line
from esen.train.memory import is_out_of_memory

Value = TypeVar("Value")

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others: longer than the slowest needs to read its data or to compile its step. A
process that ended is noticed at once, because its connection ends."""


class LostProcessError(InputError):
    """Another process ended, so that no step can be finished."""


@dataclass(frozen=True)
class Processes:
    """The processes of a training.

    If another process has ended, every method that exchanges something raises `LostProcessError`; if memory is too
    small for what is exchanged, `InputError`.

    Attributes:
        rank: Index of this process, from 0.
        size: Number of processes; if it is 1, nothing is exchanged.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    @property
    def grace(self) -> float:
        """Seconds within which a signal may reach this process twice, from the terminal and from torchrun."""
        return 0.0 if self.size == 1 else 5.0

    def share(self, indices: Sequence[int], costs: Sequence[int]) -> list[int]:
        """Return the structures of a batch that this process takes, in the order of the batch.

        The costliest are given out first, each to the process with the least so far: the largest sum of costs
        is at most 4/3 of the best possible one.

        Args:
            indices: Indices of the structures.
            costs: Cost of each, such as its number of atoms.

        >>> [Processes(rank, 2).share([4, 5, 6], [10, 30, 20]) for rank in (0, 1)]
        [[5], [4, 6]]
        """
        loads, owners = [0] * self.size, [0] * len(indices)
        for place in sorted(range(len(indices)), key=lambda p: (-costs[p], p)):
            owner = loads.index(min(loads))
            loads[owner] += costs[place]
            owners[place] = owner
        return [index for index, owner in zip(indices, owners, strict=True) if owner == self.rank]

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, which have the same tensors in the same order."""
        if self.size == 1:
            return
        by_kind: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        for tensor in tensors:
            by_kind.setdefault((tensor.dtype, tensor.device), []).append(tensor)
        with _exchanging():
            for same in by_kind.values():
                flat = torch.cat([tensor.reshape(-1) for tensor in same])
                dist.all_reduce(flat)
                for tensor, total in zip(same, flat.split([t.numel() for t in same]), strict=True):
                    tensor.copy_(total.view_as(tensor))

    def sums(self, numbers: Sequence[float]) -> list[float]:
        """Return the sums of numbers over all processes, in float64."""
        if self.size == 1:
            return list(numbers)
        total = torch.tensor(numbers, dtype=torch.float64, device=_device())
        self.add_up([total])
        return [float(value) for value in total]

    def add_up_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace each gradient by its sum over all processes; a weight without a gradient in any keeps none."""
        trained = [p for p in parameters if p.requires_grad]
        gradients = []
        for parameter, has in zip(
            trained, self.sums([float(p.grad is not None) for p in trained]), strict=True
        ):
            if has:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                gradients.append(parameter.grad)
        self.add_up(gradients)

    def copy_first(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by that of the first process."""
        if self.size == 1:
            return
        with torch.no_grad(), _exchanging():
            for tensor in tensors:
                dist.broadcast(tensor.data, src=0)

    def any(self, flag: bool) -> bool:
        """Tell whether the flag is set in any process."""
        return self.sums([float(flag)])[0] > 0

    def first_says(self, value: Value) -> Value:
        """Return the value that the first process gives."""
        if self.size == 1:
            return value
        box = [value]
        with _exchanging():
            dist.broadcast_object_list(box, src=0, device=_device())
        return box[0]


ALONE = Processes()


@contextmanager
def torchrun_processes(device: str) -> Iterator[Processes]:
    """Connect this process with the others that torchrun has started; without torchrun, it is alone.

    Args:
        device: `cpu` or `cuda`; on GPUs each process of a node takes its own.

    Raises:
        InputError: The other processes cannot be reached.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    if device.startswith("cuda"):
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    try:
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"torchrun: the {size} processes did not find each other: {first_line(error)}"
        ) from error
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def _device() -> torch.device:
    """Return the device on which exchanged tensors must be."""
    if dist.is_initialized() and dist.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


@contextmanager
def _exchanging() -> Iterator[None]:
    try:
        yield
    except (
        RuntimeError,
        MemoryError,
    ) as error:  # torch raises RuntimeError where a connection breaks or times out
        if is_out_of_memory(error):
            raise InputError(
                "out of memory: processes that share batches need room for a second copy of all gradients;"
                " make train.micro_batch_atoms or the model smaller"
            ) from error
        raise LostProcessError(
            f"one of the {dist.get_world_size()} processes is gone ({first_line(error)})"
        ) from error
