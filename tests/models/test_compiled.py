"""The network in training as one graph of operations for batches of every size."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from esen.data.structure import Structure
from esen.errors import InputError
from esen.graph.batch import make_graph
from esen.graph.types import Graph
from esen.models.compiled import require_compiler
from esen.models.dens import Corruption
from esen.models.potential import EsenPotential, make_potential
from esen.recipe.model import ModelSpec

_SMALL = {
    "cutoff": 3.5,
    "layers": 1,
    "lmax": 1,
    "mmax": 1,
    "sphere_channels": 3,
    "hidden_channels": 4,
    "edge_channels": 5,
    "max_elements": 20,
    "radial": {"kind": "gaussian", "count": 4},
}
_DIRECT = {"forces": {"kind": "direct", "stress": {"kind": "none"}}}


@pytest.fixture
def compiled_graphs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The graphs given to `torch.compile`, which are not compiled because that takes a minute."""
    graphs: list[Any] = []

    def keep(graph: Any, *, dynamic: bool, fullgraph: bool) -> Any:
        assert dynamic
        assert fullgraph
        graphs.append(graph)
        return graph

    monkeypatch.setattr(torch, "compile", keep)
    return graphs


def cluster(count: int) -> Graph:
    random = np.random.default_rng(count)
    length = 2.2 * count ** (1 / 3)
    positions = random.uniform(0, length, (count, 3))
    numbers = random.integers(6, 9, count)
    return make_graph(Structure(numbers, positions, np.eye(3) * length, np.ones(3, dtype=bool)), 3.5)


def network(changes: dict[str, Any], dtype: torch.dtype = torch.float64) -> EsenPotential:
    return make_potential(ModelSpec.model_validate(_SMALL | changes), seed=0).to(dtype).train()


def loss_of_prediction(potential: EsenPotential, graph: Graph) -> tuple[Tensor, list[Tensor]]:
    found = potential(graph)
    outputs = [found.energy, found.forces, found.energies]
    if potential.direct is None:
        outputs.append(found.stress)
    return sum((x**2).sum() + (x**3).sum() for x in outputs), outputs  # type: ignore[return-value]


def loss_of_denoising(potential: EsenPotential, graph: Graph) -> tuple[Tensor, list[Tensor]]:
    forces = torch.linspace(-1, 1, 3 * graph.num_atoms, dtype=torch.float64).view(-1, 3)
    found = potential.denoise(graph, Corruption(forces, torch.arange(graph.num_atoms) % 2 == 0))
    outputs = [found.noise]
    if found.prediction is not None:
        outputs += [found.prediction.energy, found.prediction.forces]
    return sum((x**2).sum() + (x**3).sum() for x in outputs), outputs  # type: ignore[return-value]


Loss = Callable[[EsenPotential, Graph], tuple[Tensor, list[Tensor]]]


def apart(one: EsenPotential, other: EsenPotential, graph: Graph, loss: Loss) -> float:
    """Return the largest relative difference of results and of weight gradients."""
    found = []
    for potential in (one, other):
        potential.zero_grad()
        total, outputs = loss(potential, graph)
        total.backward()
        gradients = [p.grad for p in potential.parameters()]
        found.append(([x.detach() for x in outputs], gradients))
    (first, by_weights), (second, by_same_weights) = found
    assert [g is None for g in by_weights] == [g is None for g in by_same_weights]
    largest = max(float(g.abs().max()) for g in by_weights if g is not None)
    pairs = [(a, b, float(a.abs().max())) for a, b in zip(first, second, strict=True)]
    pairs += [
        (a, b, largest)
        for a, b in zip(by_weights, by_same_weights, strict=True)
        if a is not None and b is not None
    ]
    return max(float((a - b).abs().max()) / scale for a, b, scale in pairs)


_KINDS: dict[str, tuple[dict[str, Any], Loss]] = {
    "conservative": ({}, loss_of_prediction),
    "bessel": ({"radial": {"kind": "bessel", "count": 3}}, loss_of_prediction),
    "grid": ({"nonlinearity": {"kind": "grid", "resolution": 4}}, loss_of_prediction),
    "direct": (_DIRECT, loss_of_prediction),
    "direct, denoising": (_DIRECT | {"dens": True}, loss_of_denoising),
    "conservative, denoising": ({"dens": True}, loss_of_denoising),
}


_QUICK = "conservative", "direct, denoising"


@pytest.mark.parametrize(
    "kind", [kind if kind in _QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in _KINDS]
)
def test_results_and_gradients_are_those_without(kind: str, compiled_graphs: list[Any]) -> None:
    changes, loss = _KINDS[kind]
    eager = network(changes)
    compiled = deepcopy(eager).use_compilation(True)
    names = list(compiled.state_dict())
    for count in (9, 4, 20):
        assert apart(eager, compiled, cluster(count), loss) < 1e-12
    with torch.no_grad():  # weights that change are seen
        for potential in (eager, compiled):
            for weight in potential.parameters():
                weight.mul_(1.1)
            potential.scale.fill_(2.0)
            potential.references.fill_(-3.0)
    assert apart(eager, compiled, cluster(9), loss) < 1e-12
    assert len(compiled_graphs) == 1
    assert list(compiled.state_dict()) == names


@pytest.mark.slow
def test_products_in_bfloat16(compiled_graphs: list[Any]) -> None:
    eager = network({}, torch.float32).use_products(torch.bfloat16)
    compiled = deepcopy(eager).use_compilation(True)
    assert apart(eager, compiled, cluster(9), loss_of_prediction) < 1e-5
    assert any(node.kwargs.get("dtype") == torch.bfloat16 for node in compiled_graphs[0].graph.nodes)


def test_only_what_is_differentiated_is_compiled(compiled_graphs: list[Any]) -> None:
    potential = network(_DIRECT).use_compilation(True)
    potential.eval()(cluster(9))
    alone = Structure(np.array([8]), np.zeros((1, 3)), np.zeros((3, 3)), np.zeros(3, dtype=bool))
    potential.train()(make_graph(alone, 3.5)).energy.sum().backward()
    assert not compiled_graphs
    before = potential(cluster(9)).energy
    assert len(compiled_graphs) == 1
    copied = deepcopy(potential)  # which is compiled anew, with its own weights
    with torch.no_grad():
        for weight in copied.parameters():
            weight.mul_(1.5)
    assert not torch.allclose(copied(cluster(9)).energy, before)
    assert torch.equal(potential(cluster(9)).energy, before)
    assert len(compiled_graphs) == 2
    potential.use_compilation(False)(cluster(9))
    assert len(compiled_graphs) == 2


@pytest.mark.parametrize(
    ("device", "there", "message"),
    [
        ("cpu", False, r"\(g\+\+, clang\+\+, c\+\+\).*train\.compile: false"),
        ("cuda", True, r"Triton.*train\.compile: false"),
    ],
)
def test_missing_tools_are_one_line(
    device: str, there: bool, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/g++" if there else None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(InputError, match=message):
        require_compiler(torch.device(device))


def test_the_named_compiler_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -O2")
    with pytest.raises(InputError, match=r"no-such-compiler"):
        require_compiler(torch.device("cpu"))


def test_a_failure_of_the_compiler_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._dynamo.exc import BackendCompilerFailed

    def broken(graph: Any, **_: Any) -> Any:
        def fail(*inputs: Tensor) -> Any:
            raise BackendCompilerFailed(graph, RuntimeError("C++ compile error\nlong output"), None)

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(InputError) as caught:
        network(_DIRECT).use_compilation(True)(cluster(9))
    assert str(caught.value).startswith("train.compile: ")
    assert "(C++ compile error)" in str(caught.value)


def test_a_failure_on_the_derivative_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refuses(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            raise RuntimeError("no derivative\nlong output")

    def broken(graph: Any, **_: Any) -> Any:
        return lambda *inputs: Refuses.apply(graph(*inputs))

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(InputError, match=r"no derivative.*train\.compile"):
        network(_DIRECT).use_compilation(True)(cluster(9))


def test_another_precision_is_compiled_anew(compiled_graphs: list[Any]) -> None:
    potential = network(_DIRECT).use_compilation(True)
    potential(cluster(9))
    potential.to(torch.float32)(cluster(9))
    potential.use_products(torch.bfloat16)(cluster(9))
    assert len(compiled_graphs) == 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["conservative", "direct, denoising"])
def test_compiled_in_earnest(kind: str) -> None:
    changes, loss = _KINDS[kind]
    eager = network(changes)
    compiled = deepcopy(eager).use_compilation(True)
    for count in (40, 33, 60):
        assert apart(eager, compiled, cluster(count), loss) < 1e-10
