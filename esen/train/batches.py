"""Batches of frames: which frames each holds, their graphs, and their preparation while a step computes."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import numpy as np
import torch

from esen.data.frames import as_frames
from esen.data.structure import Structure
from esen.graph.batch import collate, make_graphs, make_labels, pack_batches
from esen.graph.types import Graph, Labels
from esen.recipe import BatchSpec
from esen.recipe.model import Backend

Item = TypeVar("Item")
Made = TypeVar("Made")

_KEPT_EDGES = 20_000_000  # 40 bytes each: 0.8 GB


class Batches:
    """Graphs and labels of frames, in batches. Graphs are made once and kept as far as memory allows.

    Args:
        structures: The frames.
        cutoff: Cutoff of the graphs, in Å.
        spec: Size of a batch.
        backend: Library that finds the edges.
    """

    def __init__(
        self, structures: Sequence[Structure], cutoff: float, spec: BatchSpec, backend: Backend = "vesin"
    ) -> None:
        self.structures = as_frames(structures)
        self.cutoff = cutoff
        self.spec = spec
        self.backend: Backend = backend
        self._graphs: dict[int, Graph] = {}
        self._edges = 0
        self._keeping = threading.Lock()  # batches may be made in another thread

    def in_order(self) -> list[list[int]]:
        """Return indices of all frames in their order, batch by batch."""
        return self._pack(range(len(self.structures)))

    def shuffled(self, seed: int, epoch: int) -> list[list[int]]:
        """Return indices of all frames in an order that depends on seed and epoch alone, so that runs can resume."""
        return self._pack(np.random.default_rng((seed, epoch)).permutation(len(self.structures)).tolist())

    def load(self, indices: Sequence[int]) -> tuple[Graph, Labels]:
        """Return one batch, on the CPU."""
        structures = [self.structures[i] for i in indices]
        return collate(self._graphs_of(indices, structures)), make_labels(structures)

    def _pack(self, order: Sequence[int]) -> list[list[int]]:
        sizes = self.structures.atoms.tolist()
        return pack_batches(sizes, atoms=self.spec.atoms, structures=self.spec.structures, order=order)

    def _graphs_of(self, indices: Sequence[int], structures: Sequence[Structure]) -> list[Graph]:
        missing = {i: s for i, s in zip(indices, structures, strict=True) if i not in self._graphs}
        made = make_graphs(list(missing.values()), self.cutoff, self.backend)
        new = dict(zip(missing, made, strict=True))
        graphs = [new[i] if i in new else self._graphs[i] for i in indices]
        with self._keeping:
            for index, graph in new.items():
                if index not in self._graphs and self._edges + graph.num_edges <= _KEPT_EDGES:
                    self._edges += graph.num_edges
                    self._graphs[index] = graph
        return graphs


@contextmanager
def prefetched(make: Callable[[Item], Made], items: Sequence[Item], ahead: int) -> Iterator[Iterator[Made]]:
    """Give `make(item)` for each item, in order; within the block a thread makes the next ones beforehand.

    There is one thread, which takes the items in order, so that `make` never runs twice at a time. What it raises for
    an item is raised where that item is taken. The thread has ended when the block is left, however it is left.

    Args:
        make: Must not be called in another thread within the block.
        items: What to make something of.
        ahead: Number of items made before they are asked for; without any there is no thread.
    """
    if not ahead:
        yield map(make, items)
        return
    gpu = torch.cuda.current_device() if torch.cuda.is_initialized() else None
    same_gpu = (
        None if gpu is None else partial(torch.cuda.set_device, gpu)
    )  # neighbours may be searched on it
    thread = ThreadPoolExecutor(1, "prefetch", initializer=same_gpu)
    try:
        yield _in_turn(make, items, ahead, thread)
    finally:
        thread.shutdown(wait=True, cancel_futures=True)


def _in_turn(
    make: Callable[[Item], Made], items: Sequence[Item], ahead: int, thread: ThreadPoolExecutor
) -> Iterator[Made]:
    waiting: deque[Future[Made]] = deque()
    for item in items:
        waiting.append(thread.submit(make, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    for future in waiting:
        yield future.result()
