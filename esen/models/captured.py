"""Predictions on a GPU as one CUDA graph, for graphs whose number of edges changes from call to call.

A prediction consists of thousands of small operations, and for a few hundred atoms the processor needs more time to
start them than the GPU to compute them. A CUDA graph starts them all at once, but all sizes must be the same at every
call. Therefore one isolated atom is appended to the batch as a structure of its own, and edges from this atom to its
own periodic images, longer than the cutoff, fill the graph up to a fixed number of edges. No edge joins this atom to
another one, so the predictions for the other atoms differ by rounding alone.
"""

import os
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import cache
from typing import Self
from weakref import finalize

import torch
from torch import Tensor

from esen.graph.types import Graph, Prediction
from esen.models.memory import is_lean
from esen.models.potential import EsenPotential
from esen.recipe.model import Backend, CutoffGraphSpec

MARGIN = 0.03
"""Share of further edges for which there is room when a graph is captured."""
_ROUND = 256
"""Numbers of edges are multiples of this."""
_SMALLEST = 0.7
"""A graph that fills less than this share of its edges is captured again with fewer."""
CALLS_BEFORE = 2
"""Number of calls with the same numbers of atoms and structures that are computed directly before one is captured.

A capture takes several times as long as a prediction, so it pays only if many follow.
"""
_MOST_GRAPHS = 2
"""Number of graphs that are kept. Each holds the memory of its intermediate results."""
_WARM_UPS = 3
"""Number of predictions before a capture, of the same sizes.

They load kernels and make constants. The spherical harmonics of e3nn are a program
of TorchScript, which observes the first call with new sizes and compiles at the second.
"""
SWITCH = "ESEN_CUDA_GRAPHS"
"""Environment variable; with the value 0, commands and `EsenCalculator` capture nothing."""


def captured(potential: EsenPotential) -> "EsenPotential | CapturedPotential":
    """Return the potential as `CapturedPotential` if it is on a GPU and can be captured, or itself.

    With the environment variable `ESEN_CUDA_GRAPHS=0` it is always the potential itself.
    """
    wanted = potential.scale.is_cuda and os.environ.get(SWITCH) != "0"
    return CapturedPotential(potential) if wanted and can_be_captured(potential) else potential


def can_be_captured(potential: EsenPotential) -> bool:
    """Return whether all sizes depend on the sizes of the graph alone.

    They do not if edges are selected by their lengths (`graph.kind: knn`), and random edge frames are drawn on the
    processor.
    """
    return isinstance(potential.spec.graph, CutoffGraphSpec) and not potential.is_random


class CapturedPotential:
    """A potential whose predictions are replayed from a CUDA graph when graphs of the same sizes follow one another.

    The graph is captured at the third call with the same numbers of atoms and structures, and again when the edges do
    not fit.

    The weights, their precision and the memory mode must not change afterwards. It is not thread-safe.

    Args:
        potential: the potential, which need not be on a GPU: without one its predictions for the same filled-up graphs
            are computed directly.

    Attributes:
        captures: number of captures so far.
    """

    def __init__(self, potential: EsenPotential) -> None:
        self.potential = potential.eval()
        self.cutoff = potential.cutoff
        self.backend: Backend = potential.backend
        self.captures = 0
        self._recent: tuple[tuple[int, int] | None, int] = (None, 0)
        self._captured: OrderedDict[tuple[int, int], _Captured] = OrderedDict()

    def __getstate__(self) -> dict[str, object]:
        """Return the state of a copy, which captures for itself."""
        return self.__dict__ | {"_captured": OrderedDict()}

    def __call__(self, graph: Graph) -> Prediction:
        """Predict energy, forces and stress.

        Raises:
            InputError: as `EsenPotential.check_elements`.
        """
        self.potential.check_elements(graph)
        sizes = (graph.num_atoms, graph.num_structures)
        calls = self._recent[1] + 1 if self._recent[0] == sizes else 1
        self._recent = (sizes, calls)
        if not graph.num_atoms or (sizes not in self._captured and calls <= CALLS_BEFORE):
            return self.potential(graph)
        with torch.inference_mode(False):  # the inputs are written in either mode
            found = self._captured.pop(sizes, None)
            if found is None or not found.has_room_for(graph):
                del found  # its memory is reused
                while len(self._captured) >= _MOST_GRAPHS:
                    self._captured.popitem(last=False)
                found = _Captured.of(self.potential, graph)
                self.captures += 1
            self._captured[sizes] = found
            return found(graph)


@dataclass(eq=False)
class _Captured:
    """A filled-up graph at fixed addresses, and the prediction for it.

    Attributes:
        potential: the potential.
        inputs: the filled-up graph, in whose tensors the graph of each call is written.
        replay: the CUDA graph; None if there is no GPU.
        outputs: the tensors that it writes.
    """

    potential: EsenPotential
    inputs: Graph
    replay: torch.cuda.CUDAGraph | None = None
    outputs: Prediction | None = None

    @classmethod
    def of(cls, potential: EsenPotential, graph: Graph) -> Self:
        """Return a new one with room for the graph and some edges more."""
        edges = -(-int(graph.num_edges * (1 + MARGIN) + 1) // _ROUND) * _ROUND
        made = cls(potential, _filled(graph, edges, potential.cutoff))
        if graph.positions.is_cuda:
            made._capture()
        return made

    def has_room_for(self, graph: Graph) -> bool:
        """Return whether the edges of a graph fit and use most of the room."""
        room = self.inputs.num_edges
        return graph.num_edges <= room and (graph.num_edges >= _SMALLEST * room or room == _ROUND)

    def __call__(self, graph: Graph) -> Prediction:
        """Return the prediction for a graph of the same numbers of atoms and structures."""
        self._write(graph)
        if self.replay is None:
            whole = self.potential(self.inputs)
        else:
            self.replay.replay()
            assert self.outputs is not None
            whole = self.outputs.map(torch.clone)
        atoms, structures = graph.num_atoms, graph.num_structures
        return Prediction(
            energy=whole.energy[:structures],
            forces=whole.forces[:atoms],
            stress=whole.stress[:structures],
            energies=whole.energies[:atoms],
            virial=whole.virial[:structures],
        )

    def _write(self, graph: Graph) -> None:
        inputs, edges = self.inputs, graph.num_edges
        for name in ("numbers", "positions", "cell", "pbc", "structure"):
            given: Tensor = getattr(graph, name)
            getattr(inputs, name)[:-1].copy_(given)
        for name in ("sender", "receiver", "shift"):
            getattr(inputs, name)[:edges].copy_(getattr(graph, name))
        inputs.sender[edges:].fill_(graph.num_atoms)
        inputs.receiver[edges:].fill_(graph.num_atoms)
        inputs.shift[edges:].fill_(1.0)

    def _capture(self) -> None:
        """Capture a prediction on the GPU of the inputs.

        Raises:
            RuntimeError: CUDA refuses an operation of the prediction in a capture.
        """
        backbone = self.potential.network.backbone
        mode = backbone.memory
        with torch.enable_grad():  # as when forces are computed
            lean = is_lean(
                mode,
                self.potential.spec,
                self.inputs.num_edges,
                dtype=backbone.species.weight.dtype,
                device=backbone.species.weight.device,
                training=False,
            )
        # `auto` would ask for the free memory, which is not allowed in a capture
        self.potential.use_memory("lean" if lean else "fast")
        device = self.inputs.positions.device
        warm_up, idle = _warm_up_stream(device), _idle_streams.setdefault(device, [])
        stream = idle.pop() if idle else torch.cuda.Stream(device)
        finalize(self, idle.append, stream)
        try:
            with torch.cuda.device(device):
                warm_up.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(warm_up):
                    for _ in range(_WARM_UPS):
                        self.potential(self.inputs)
                stream.wait_stream(warm_up)
                with torch.cuda.stream(stream):  # is left also if the end of the capture fails
                    replay = torch.cuda.CUDAGraph()
                    # derivatives are computed in a thread of torch, and other threads may use the GPU meanwhile
                    with torch.cuda.graph(replay, stream=stream, capture_error_mode="thread_local"):
                        self.outputs = self.potential(self.inputs)
                    self.replay = replay
                torch.cuda.current_stream().wait_stream(stream)
        except RuntimeError as error:
            error.add_note(f"A CUDA graph was being captured; with {SWITCH}=0 there is none.")
            raise
        finally:
            self.potential.use_memory(mode)


_idle_streams: dict[torch.device, list[torch.cuda.Stream]] = {}
"""Streams of each GPU on which no graph that exists was captured.

cuBLAS has a workspace per stream, here in the memory of the first graph that is captured on it. Some versions of torch
free it together with any graph of the stream, so two graphs must not share one. Others never free it, so that streams
are used again.
"""


@cache
def _warm_up_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


def _filled(graph: Graph, edges: int, cutoff: float) -> Graph:
    """Return a copy of the graph with one more atom, a structure of its own, and with `edges` edges."""
    missing = edges - graph.num_edges
    ends = graph.sender.new_full((missing,), graph.num_atoms)
    box = 4 * cutoff * torch.eye(3, dtype=graph.cell.dtype, device=graph.cell.device)
    return replace(
        graph,
        numbers=torch.cat([graph.numbers, graph.numbers[:1]]),
        positions=torch.cat([graph.positions, torch.zeros_like(graph.positions[:1])]),
        cell=torch.cat([graph.cell, box.unsqueeze(0)]),
        pbc=torch.cat([graph.pbc, torch.ones_like(graph.pbc[:1])]),
        structure=torch.cat([graph.structure, graph.structure.new_full((1,), graph.num_structures)]),
        sender=torch.cat([graph.sender, ends]),
        receiver=torch.cat([graph.receiver, ends]),
        shift=torch.cat([graph.shift, graph.shift.new_ones(missing, 3)]),
    )
