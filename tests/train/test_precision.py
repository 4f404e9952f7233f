"""Precision of weights and of products."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from esen.errors import InputError
from esen.graph.batch import make_graph
from esen.models.checkpoint import load_potential, read_checkpoint
from esen.models.potential import EsenPotential
from esen.recipe.train import Precision, StageSpec, TrainSpec
from esen.train.precision import check_steps, matrix_products, prepared, weights_dtype
from tests.models.variants import potential_of
from tests.train.small import crystals, recipe_of, train, write_frames

CPU = torch.device("cpu")
GRAPH = make_graph(crystals(3), 4.0)


def spec(precision: Precision, **more: object) -> TrainSpec:
    return TrainSpec.model_validate(
        {"precision": precision, "stages": (StageSpec(epochs=1),), "memory": "fast"} | more
    )


def in_bf16(name: str = "default", **more: object) -> EsenPotential:
    return prepared(deepcopy(potential_of(name)), spec("bf16", **more)).train()


def gradients(potential: EsenPotential) -> list[Tensor]:
    potential.zero_grad()
    found = potential(GRAPH)
    (found.energy.sum() + found.forces.square().sum() + found.stress.square().sum()).backward()
    return [p.grad for p in potential.parameters() if p.grad is not None]


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("float32", torch.float32),
        ("float64", torch.float64),
        ("tf32", torch.float32),
        ("bf16", torch.float32),
    ],
)
def test_weights(precision: Precision, dtype: torch.dtype) -> None:
    assert weights_dtype(precision) == dtype
    potential = prepared(deepcopy(potential_of("default")), spec(precision))
    assert {p.dtype for p in potential.parameters()} == {dtype}
    assert potential.scale.dtype == potential.references.dtype == torch.float64
    assert potential.products == (torch.bfloat16 if precision == "bf16" else None)
    assert potential.network.backbone.memory == "fast"


@pytest.mark.parametrize("name", ["default", "direct", "grid 6", "bessel"])
def test_bf16_is_near_float64_and_not_float32(name: str) -> None:
    exact, rounded = potential_of(name).train()(GRAPH), in_bf16(name)(GRAPH)
    for field in ("energy", "forces", "energies"):
        a, b = getattr(exact, field).detach(), getattr(rounded, field).detach()
        assert b.dtype == torch.float64
        assert 1e-5 < float((a - b).norm() / a.norm()) < 0.2


def test_geometry_is_not_rounded_before_it_is_multiplied(monkeypatch: pytest.MonkeyPatch) -> None:
    import esen.models.backbone

    seen: list[Tensor] = []
    edge_wigner = esen.models.backbone.edge_wigner

    def watched(direction: Tensor, lmax: int, mmax: int) -> tuple[Tensor, ...]:
        found = edge_wigner(direction, lmax, mmax)
        seen.extend(found)
        return found

    monkeypatch.setattr(esen.models.backbone, "edge_wigner", watched)
    potential_of("default").train()(GRAPH)
    exact = [d.detach() for d in seen]
    seen.clear()
    in_bf16()(GRAPH)
    assert all(torch.equal(a, b.detach()) for a, b in zip(exact, seen, strict=True))


def test_forces_in_bf16_are_those_of_a_gradient() -> None:
    found = in_bf16()(GRAPH)
    sums = found.forces.new_zeros(GRAPH.num_structures, 3).index_add(0, GRAPH.structure, found.forces)
    assert float(sums.detach().abs().max()) < 1e-12 * float(found.forces.detach().abs().max())


@pytest.mark.parametrize("name", ["default", "direct", "grid along edges"])
def test_recomputed_chunks_give_the_same_bits_in_bf16(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("esen.models.chunks").models.chunks.SMALLEST_CHUNK, "cpu", 64)
    kept, lean = in_bf16(name), in_bf16(name, memory="lean")
    pairs = zip(gradients(kept), gradients(lean), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    exact = [g.detach() for g in gradients(deepcopy(potential_of(name)).train())]
    largest = max(float(g.abs().max()) for g in exact)
    rounding = [float((a - b).abs().max()) / largest for a, b in zip(exact, gradients(kept), strict=True)]
    assert 1e-5 < max(rounding) < 0.2


@pytest.mark.parametrize("before", [True, False])
def test_tf32_is_switched_on_for_gpus_alone_and_only_within(before: bool) -> None:
    matmul = torch.backends.cuda.matmul
    own = matmul.allow_tf32
    matmul.allow_tf32 = before
    try:
        for precision, within in (("tf32", True), ("float32", False), ("bf16", False), ("float64", False)):
            with matrix_products(precision, torch.device("cuda")):
                assert matmul.allow_tf32 is within
            assert matmul.allow_tf32 is before
            with matrix_products(precision, CPU):
                assert matmul.allow_tf32 is before
        with pytest.raises(KeyError), matrix_products("tf32", torch.device("cuda")):
            raise KeyError
        assert matmul.allow_tf32 is before
    finally:
        matmul.allow_tf32 = own


def test_tf32_without_a_gpu_is_said() -> None:
    assert check_steps(spec("tf32"), CPU) != []
    assert check_steps(spec("tf32"), torch.device("cuda")) == []
    assert check_steps(spec("bf16"), CPU) == []


def test_steps_that_cannot_be_compiled_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match=r"no-such-compiler.*train\.compile: false"):
        check_steps(spec("float32", compile=True), CPU)
    assert check_steps(spec("float32"), CPU) == []


def test_a_training_in_bf16_saves_float32_that_predicts_in_float32(tmp_path: Path) -> None:
    stages = [
        {
            "epochs": 1,
            "forces": {"kind": "direct", "stress": {"kind": "none"}},
            "dens": {},
            "loss": {"stress": 0},
        },
        {"epochs": 1},
    ]
    path = write_frames(tmp_path / "train.xyz", crystals(8))
    last = {}
    for precision in ("bf16", "float32"):
        folder = tmp_path / precision
        train(recipe_of(path, train__precision=precision, train__stages=stages), folder)
        for name in ("best-stage1", "best", "last"):
            weights = read_checkpoint(folder / f"{name}.safetensors").part("weights")
            assert {t.dtype for n, t in weights.items() if n.startswith("network.")} == {torch.float32}
        potential = load_potential(folder / "best.safetensors")
        assert potential.products is None
        exact = load_potential(folder / "best.safetensors", dtype=torch.float64)
        graph = make_graph(crystals(2), potential.cutoff)
        assert float((potential(graph).forces - exact(graph).forces).abs().max()) < 1e-5
        last[precision] = read_checkpoint(folder / "last.safetensors").part("weights")
    apart = [float((a - last["bf16"][n]).abs().max()) for n, a in last["float32"].items() if a.numel()]
    assert 0 < max(apart) < 0.1
    assert np.isfinite(max(apart))


class _SumsInBf16(TorchDispatchMode):
    """Notes every sum over edges or atoms that is made in bfloat16: on a GPU it stops to grow after 256 terms."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        adds = ("index_add", "index_put", "scatter_add", "embedding_dense_backward")
        if func.overloadpacket.__name__.rstrip("_") in adds:
            over_components = isinstance(args[1], int) and args[1] % args[0].ndim > 0  # a few terms
            rounded = [x for x in args if isinstance(x, Tensor) and x.dtype == torch.bfloat16]
            self.found += [] if over_components else [str(func) for _ in rounded]
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", ["default", "direct"])
def test_no_sum_over_edges_is_rounded_to_bf16(name: str) -> None:
    potential = in_bf16(name).train()
    with _SumsInBf16() as sums:
        gradients(potential)
    assert sums.found == []
