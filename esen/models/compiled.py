"""What a step of training differentiates, as one graph of tensor operations for `torch.compile`.

Training on forces differentiates a derivative. `torch.compile` cannot differentiate twice what it has compiled, so the
first derivative has to be inside: the network's energy and its gradient by the edge vectors are traced together, and
what is compiled is a plain function that is differentiated once, by the weights. Tracing runs the network as it is,
its own derivatives and precision included, with symbols for the numbers of atoms and edges: one graph serves batches of
every size. It is done on made-up sizes, so that it does not depend on which batch comes first.
"""

import importlib.util
import os
import shutil
import warnings
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from esen.errors import InputError
from esen.graph.types import Graph
from esen.models.backbone import Backbone

_ATOMS, _EDGES = 10_007, 100_003
"""Of the traced graph, whose tensors are never filled. No size of a network is one of these."""
_FEWEST = 2
"""Sizes 0 and 1 are special to the compiler; such graphs are computed as without it."""

Function = Callable[..., Any]


class _FailedBackwardError(Exception):
    """The derivative could not be compiled."""


class CompiledNetwork:
    """Two functions of a network in training, compiled when they are first asked for.

    They read the network's own weights, and their gradient goes to them. A copy is compiled anew.

    Args:
        energies: energies of the atoms, of a graph and its edge vectors.
        features: features of the atoms, of a graph, its edge vectors, and the forces that are shown.
        backbone: what both run through, with the precision and the device that it has from now on.
    """

    def __init__(self, energies: Function, features: Function, backbone: Backbone) -> None:
        self._parts = energies, features, backbone
        self._compiled: dict[str, Function] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "CompiledNetwork":
        return CompiledNetwork(*deepcopy(self._parts, memo))

    def takes(self, graph: Graph) -> bool:
        """Whether a graph is large enough."""
        return min(graph.num_atoms, graph.num_edges) >= _FEWEST

    def energies(
        self, graph: Graph, vectors: Float64[Tensor, "E 3"]
    ) -> tuple[Float64[Tensor, " N"], Float64[Tensor, "E 3"]]:
        """Energies of the atoms, and the gradient of their sum by the edge vectors.

        Raises:
            InputError: the network cannot be compiled here.
        """
        of_atoms = self._parts[0]

        def differentiated(vectors: Tensor, *connectivity: Tensor) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                vectors = vectors.detach().requires_grad_()
                energies = of_atoms(_bare(*connectivity), vectors)
                (gradient,) = torch.autograd.grad(energies.sum(), vectors, create_graph=True)
            return energies, gradient

        energies, gradient = self._run("energies", differentiated, vectors, graph)
        return energies, gradient

    def features(
        self, graph: Graph, vectors: Float64[Tensor, "E 3"], shown: Float64[Tensor, "N 3"] | None
    ) -> Float[Tensor, "N K C"]:
        """Features of the atoms, as `EsenPotential.features`.

        Raises:
            InputError: the network cannot be compiled here.
        """
        of_atoms, more = self._parts[1], () if shown is None else (shown,)

        def features(vectors: Tensor, *others: Tensor) -> Tensor:
            found: Tensor = of_atoms(_bare(*others[:3]), vectors, *others[3:])
            return found

        found: Tensor = self._run(f"features of {len(more)}", features, vectors, graph, *more)
        return found

    def _run(self, name: str, function: Function, vectors: Tensor, graph: Graph, *more: Tensor) -> Any:
        from torch._dynamo.exc import TorchDynamoException

        inputs = (vectors.detach(), graph.numbers, graph.sender, graph.receiver, *more)
        try:
            if name in self._compiled:
                return self._compiled[name](*inputs)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's, of its own inside
                traced = self._traced(function, [x.dtype for x in more])
                compiled = torch.compile(traced, dynamic=True, fullgraph=True)
                self._differentiate(compiled(*inputs))
                result = compiled(*inputs)
        except (TorchDynamoException, _FailedBackwardError) as error:
            raise InputError(
                f"train.compile: torch {torch.__version__} could not compile the network ({_first_line(error)});"
                " write train.compile: false"
            ) from error
        self._compiled[name] = compiled
        return result

    def _differentiate(self, result: Any) -> None:
        """Once, for nothing: the derivative is compiled when it is asked for first.

        Raises:
            _FailedBackwardError: it cannot be compiled.
        """
        parts = [part for part in (result if isinstance(result, tuple) else (result,)) if part.requires_grad]
        weights = [weight for weight in self._parts[2].parameters() if weight.requires_grad]
        try:
            if parts and weights:
                torch.autograd.grad([part.sum() for part in parts], weights, allow_unused=True)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # of whichever compiler
            raise _FailedBackwardError(_first_line(error)) from error

    def _traced(self, function: Function, more: list[torch.dtype]) -> Function:
        """The function as a list of tensor operations on any number of atoms and edges."""
        from torch.fx.experimental.proxy_tensor import make_fx

        backbone = self._parts[2]
        device = backbone.species.weight.device
        vectors = torch.zeros(_EDGES, 3, dtype=torch.float64, device=device)
        numbers = torch.ones(_ATOMS, dtype=torch.int64, device=device)
        ends = torch.zeros(_EDGES, dtype=torch.int64, device=device)
        others = [torch.zeros(_ATOMS, 3, dtype=dtype, device=device) for dtype in more]
        backbone.in_one_piece = True
        try:
            # Tables that are made once must not be made while tensors have no values: a pair of atoms first.
            pair = torch.arange(2, device=device)
            function(vectors[:2] + 1, numbers[:2], pair, pair.flip(0), *(x[:2] for x in others))
            make = make_fx(function, tracing_mode="symbolic", _allow_non_fake_inputs=True)
            traced = make(vectors, numbers, ends, ends.clone(), *others)  # the same tensor would be one input
        finally:
            backbone.in_one_piece = False
        return _connected(traced)


def _connected(traced: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """Without the `detach` that tracing finds wherever a derivative reads the result it belongs to (√, exp, σ, …).

    With it, the second derivative would lack what comes through that result. The network detaches nothing itself.
    """
    for node in list(traced.graph.nodes):
        if node.target is torch.ops.aten.detach.default:
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)
    traced.recompile()
    return traced


def _first_line(error: BaseException) -> str:
    """What went wrong first: the innermost of the errors that led to this one."""
    while (inner := error.__cause__ or getattr(error, "inner_exception", None)) is not None:
        error = inner
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def require_compiler(device: torch.device) -> None:
    """Refuse to compile where the tools for it are missing, before anything else is done.

    Raises:
        InputError: saying which one, and what to write instead.
    """
    named = os.environ.get("CXX")
    wanted = [named] if named else ["g++", "clang++", "c++"]
    if not any(shutil.which(name.split()[0]) for name in wanted):
        raise InputError(
            f"train.compile: no C++ compiler ({', '.join(wanted)}) is on this machine; install one,"
            " or write train.compile: false"
        )
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise InputError(
            "train.compile: Triton is not installed, which compiles for GPUs: pip install triton,"
            " or write train.compile: false"
        )


def _bare(numbers: Tensor, sender: Tensor, receiver: Tensor) -> Graph:
    """A graph of which only species and connectivity are there: geometry comes as edge vectors."""
    nothing = torch.zeros(0, dtype=torch.float64, device=numbers.device)
    return Graph(
        numbers=numbers,
        positions=numbers.new_zeros((numbers.shape[0], 3), dtype=torch.float64),
        cell=nothing.view(0, 3, 3),
        pbc=nothing.view(0, 3).bool(),
        structure=torch.zeros_like(numbers),
        sender=sender,
        receiver=receiver,
        shift=numbers.new_zeros((sender.shape[0], 3), dtype=torch.float64),
    )
