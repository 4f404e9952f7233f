"""Several processes that train one potential. `torchrun` starts them; each takes a share of every batch.

A share's gradient is its part of the batch's (`step.py` divides means by the counts of the whole batch), so that the
sum over processes is the gradient that one process would have, up to rounding. Every process then makes the same step,
and all hold the same weights and the same progress; the first one alone writes, tracks and shows.
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

from esen.errors import InputError

Value = TypeVar("Value")

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others: longer than the slowest of them reads its data or compiles its step. One
that is gone is noticed at once, when its connection ends."""


class LostProcessError(Exception):
    """Another process is gone, so that no step can be finished."""


@dataclass(frozen=True)
class Team:
    """The processes of a training.

    Attributes:
        rank: of this one, from 0.
        size: how many there are; 1: this one is alone, and nothing is exchanged.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    @property
    def grace(self) -> float:
        """Seconds in which a signal may reach this process twice, from the terminal and from torchrun."""
        return 0.0 if self.size == 1 else 5.0

    def share(self, indices: Sequence[int], costs: Sequence[int]) -> list[int]:
        """Which structures of a batch this process takes, in the order of the batch.

        The costly ones are given out first, each to the process that has least so far: the largest sum of costs
        is at most 4/3 of the best possible one.

        Args:
            indices: of the structures.
            costs: of each, such as its number of atoms.

        >>> [Team(rank, 2).share([4, 5, 6], [10, 30, 20]) for rank in (0, 1)]
        [[5], [4, 6]]
        """
        if self.size == 1:
            return list(indices)
        loads, owners = [0] * self.size, [0] * len(indices)
        for place in sorted(range(len(indices)), key=lambda p: (-costs[p], p)):
            owner = loads.index(min(loads))
            loads[owner] += costs[place]
            owners[place] = owner
        return [index for index, owner in zip(indices, owners, strict=True) if owner == self.rank]

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over all processes; they have the same ones in the same order.

        Raises:
            LostProcessError: a process is gone.
        """
        if self.size == 1:
            return
        by_kind: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        for tensor in tensors:
            by_kind.setdefault((tensor.dtype, tensor.device), []).append(tensor)
        with _others():
            for same in by_kind.values():
                flat = torch.cat([tensor.reshape(-1) for tensor in same])
                dist.all_reduce(flat)
                for tensor, total in zip(same, flat.split([t.numel() for t in same]), strict=True):
                    tensor.copy_(total.view_as(tensor))

    def sums(self, numbers: Sequence[float]) -> list[float]:
        """The sums of numbers over all processes, in float64.

        Raises:
            LostProcessError: a process is gone.
        """
        total = torch.tensor(numbers, dtype=torch.float64, device=_device())
        self.add_up([total])
        return [float(value) for value in total]

    def add_up_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace each gradient by its sum over all processes; what no process has a gradient of keeps none.

        Raises:
            LostProcessError: a process is gone.
        """
        if self.size == 1:
            return
        trained = [p for p in parameters if p.requires_grad]
        somewhere = self.sums([float(p.grad is not None) for p in trained])
        gradients = []
        for parameter, processes in zip(trained, somewhere, strict=True):
            if processes:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                gradients.append(parameter.grad)
        self.add_up(gradients)

    def copy_first(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by the first process's.

        Raises:
            LostProcessError: a process is gone.
        """
        if self.size == 1:
            return
        with torch.no_grad(), _others():
            for tensor in tensors:
                dist.broadcast(tensor.data, src=0)

    def any(self, flag: bool) -> bool:
        """Whether it is so in any process.

        Raises:
            LostProcessError: a process is gone.
        """
        return self.sums([float(flag)])[0] > 0 if self.size > 1 else flag

    def first_says(self, value: Value) -> Value:
        """What the first process has for a value.

        Raises:
            LostProcessError: a process is gone.
        """
        if self.size == 1:
            return value
        box = [value]
        with _others():
            dist.broadcast_object_list(box, src=0, device=_device())
        return box[0]


ALONE = Team()


@contextmanager
def team_of_processes(device: str) -> Iterator[Team]:
    """The team that torchrun has started this process in; without torchrun, this process alone.

    Args:
        device: `cpu` or `cuda`; on GPUs each process of a node takes its own.

    Raises:
        InputError: the other processes cannot be reached.
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
            f"torchrun: the {size} processes did not find each other: {str(error).splitlines()[0]}"
        ) from error
    try:
        yield Team(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def _device() -> torch.device:
    """Where what is exchanged has to be."""
    if dist.is_initialized() and dist.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


@contextmanager
def _others() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # all that torch raises where a connection breaks or time runs out
        raise LostProcessError(str(error).splitlines()[0]) from error
