"""The network in training as one graph of tensor operations for `torch.compile`.

Training on forces differentiates a derivative, but `torch.compile` cannot differentiate a compiled function twice.
Therefore the energy and its gradient with respect to the edge vectors are traced together and compiled as one function,
which is then differentiated once, with respect to the weights. Tracing runs the network as it is, with its own
derivatives and precision, and with symbols for the numbers of atoms and edges, so that one graph serves batches of any
size. The sizes used for tracing are fixed, so the result does not depend on the first batch.
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

from esen.errors import InputError, first_line
from esen.graph.types import Graph
from esen.models.backbone import Backbone

_ATOMS, _EDGES = 10_007, 100_003
"""Sizes of the traced graph, whose tensors are never filled. No size within a network equals one of these."""
_FEWEST = 2
"""The compiler treats sizes 0 and 1 specially; such graphs are computed without it."""

Function = Callable[..., Any]


class _FailedBackwardError(Exception):
    """The derivative could not be compiled."""


class CompiledNetwork:
    """Two functions of a network in training, each compiled at its first call.

    They use the weights of the network itself, so that gradients reach them. A copy is compiled again.

    Args:
        energies: function of a graph and its edge vectors that returns the energies of the atoms.
        features: function of a graph, its edge vectors and the given forces that returns the features of the atoms.
        backbone: backbone of both; its precision and device must not change.
    """

    def __init__(self, energies: Function, features: Function, backbone: Backbone) -> None:
        self._energies, self._features, self._backbone = energies, features, backbone
        self._compiled: dict[str, Function] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "CompiledNetwork":
        return CompiledNetwork(*deepcopy((self._energies, self._features, self._backbone), memo))

    def accepts(self, graph: Graph) -> bool:
        """Return whether a graph is large enough."""
        return min(graph.num_atoms, graph.num_edges) >= _FEWEST

    def energies(
        self, graph: Graph, vectors: Float64[Tensor, "E 3"]
    ) -> tuple[Float64[Tensor, " N"], Float64[Tensor, "E 3"]]:
        """Return the energies of the atoms and the gradient of their sum with respect to the edge vectors.

        Raises:
            InputError: the network cannot be compiled on this machine.
        """

        def energies_and_gradient(vectors: Tensor, *connectivity: Tensor) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                vectors = vectors.detach().requires_grad_()
                energies = self._energies(_connectivity(*connectivity), vectors)
                (gradient,) = torch.autograd.grad(energies.sum(), vectors, create_graph=True)
            return energies, gradient

        result: tuple[Tensor, Tensor] = self._run("energies", energies_and_gradient, vectors, graph)
        return result

    def features(
        self, graph: Graph, vectors: Float64[Tensor, "E 3"], shown: Float64[Tensor, "N 3"] | None
    ) -> Float[Tensor, "N K C"]:
        """Return the features of the atoms, as `EsenPotential.features`.

        Raises:
            InputError: the network cannot be compiled on this machine.
        """
        more = () if shown is None else (shown,)

        def features(vectors: Tensor, *others: Tensor) -> Any:
            return self._features(_connectivity(*others[:3]), vectors, *others[3:])

        result: Tensor = self._run(f"features of {len(more)}", features, vectors, graph, *more)
        return result

    def _run(self, name: str, function: Function, vectors: Tensor, graph: Graph, *more: Tensor) -> Any:
        from torch._dynamo.exc import TorchDynamoException

        inputs = (vectors.detach(), graph.numbers, graph.sender, graph.receiver, *more)
        try:
            if name in self._compiled:
                return self._compiled[name](*inputs)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of torch about itself
                traced = self._traced(function, [x.dtype for x in more])
                compiled = torch.compile(traced, dynamic=True, fullgraph=True)
                self._differentiate(compiled(*inputs))
                result = compiled(*inputs)
        except (TorchDynamoException, _FailedBackwardError) as error:
            raise InputError(
                f"train.compile: torch {torch.__version__} could not compile the network ({_cause(error)});"
                " write train.compile: false"
            ) from error
        self._compiled[name] = compiled
        return result

    def _differentiate(self, result: Any) -> None:
        """Differentiate a result once and discard the gradient, because torch compiles derivatives at their first use.

        Raises:
            _FailedBackwardError: the derivative cannot be compiled.
        """
        parts = [part for part in (result if isinstance(result, tuple) else (result,)) if part.requires_grad]
        weights = [weight for weight in self._backbone.parameters() if weight.requires_grad]
        try:
            if parts and weights:
                torch.autograd.grad([part.sum() for part in parts], weights, allow_unused=True)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # compilers raise errors of many types
            raise _FailedBackwardError(_cause(error)) from error

    def _traced(self, function: Function, more: list[torch.dtype]) -> Function:
        """Return the function as a list of tensor operations for any number of atoms and edges."""
        from torch.fx.experimental.proxy_tensor import make_fx

        device = self._backbone.species.weight.device
        vectors = torch.zeros(_EDGES, 3, dtype=torch.float64, device=device)
        numbers = torch.ones(_ATOMS, dtype=torch.int64, device=device)
        ends = torch.zeros(_EDGES, dtype=torch.int64, device=device)
        others = [torch.zeros(_ATOMS, 3, dtype=dtype, device=device) for dtype in more]
        self._backbone.single_chunk = True
        try:
            # Cached tables must not be computed while tensors have no values, so a pair of atoms is evaluated first.
            pair = torch.arange(2, device=device)
            function(vectors[:2] + 1, numbers[:2], pair, pair.flip(0), *(x[:2] for x in others))
            make = make_fx(function, tracing_mode="symbolic", _allow_non_fake_inputs=True)
            traced = make(
                vectors, numbers, ends, ends.clone(), *others
            )  # one tensor twice would be one input
        finally:
            self._backbone.single_chunk = False
        return _without_detach(traced)


def _without_detach(traced: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """Remove the `detach` that tracing inserts where a derivative reads the result of its function (√, exp, σ, …).

    With it, the second derivative would lack the terms through that result. The network itself detaches nothing.
    """
    for node in list(traced.graph.nodes):
        if node.target is torch.ops.aten.detach.default:
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)
    traced.recompile()
    return traced


def _cause(error: BaseException) -> str:
    """Return the first line of the innermost of the errors that led to this one."""
    while (inner := error.__cause__ or getattr(error, "inner_exception", None)) is not None:
        error = inner
    return first_line(error)


def require_compiler(device: torch.device) -> None:
    """Check that the tools for compilation are installed.

    Raises:
        InputError: there is no C++ compiler, or no Triton for a GPU.
    """
    named = os.environ.get("CXX")
    wanted = [named] if named else ["g++", "clang++", "c++"]
    if not any(shutil.which(name.split()[0]) for name in wanted):
        raise InputError(
            f"train.compile: this machine has no C++ compiler ({', '.join(wanted)}); install one,"
            " or write train.compile: false"
        )
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise InputError(
            "train.compile: Triton, which compiles for GPUs, is not installed; run `pip install triton`,"
            " or write train.compile: false"
        )


def _connectivity(numbers: Tensor, sender: Tensor, receiver: Tensor) -> Graph:
    """Return a graph with species and connectivity only; its geometry is given by the edge vectors."""
    empty = torch.zeros(0, dtype=torch.float64, device=numbers.device)
    return Graph(
        numbers=numbers,
        positions=numbers.new_zeros((numbers.shape[0], 3), dtype=torch.float64),
        cell=empty.view(0, 3, 3),
        pbc=empty.view(0, 3).bool(),
        structure=torch.zeros_like(numbers),
        sender=sender,
        receiver=receiver,
        shift=numbers.new_zeros((sender.shape[0], 3), dtype=torch.float64),
    )
