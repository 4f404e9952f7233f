"""Chunks of edges, and the mode that computes them twice: the same numbers with less memory."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from esen.graph.batch import make_graph
from esen.graph.edges import edge_vectors
from esen.graph.types import Graph, Prediction
from esen.models import chunks
from esen.models.chunks import chunk_sizes
from esen.models.potential import EsenPotential
from tests.models.variants import (
    ABLATIONS,
    VARIANTS,
    chiral_molecule,
    isolated,
    potential_of,
    triclinic_crystal,
)

ALL = sorted(VARIANTS | ABLATIONS)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(chunks.SMALLEST_CHUNK, "cpu", 7)
    monkeypatch.setattr(chunks, "MOST_CHUNKS", 1000)


def batch() -> Graph:
    return make_graph([chiral_molecule(), isolated([8], [[0, 0, 0]]), triclinic_crystal()], 4.0)


def in_mode(potential: EsenPotential, mode: Any, graph: Graph) -> Prediction:
    potential.seed_frames(0)
    try:
        return potential.use_memory(mode)(graph)
    finally:
        potential.use_memory("auto")


def test_sizes() -> None:
    cpu = torch.device("cpu")
    assert chunk_sizes(0, cpu) == [0]
    assert chunk_sizes(1, cpu) == [1]
    assert chunk_sizes(4096, cpu) == [2048, 2048]
    for edges in (5_000, 1_000_000):
        sizes = chunk_sizes(edges, cpu)
        assert sum(sizes) == edges
        assert len(sizes) <= 64
        assert len(set(sizes[:-1])) == 1 >= sizes[-1] / sizes[0]
    assert chunk_sizes(20_000, torch.device("cuda")) == [20_000]


@pytest.mark.parametrize("variant", ALL)
def test_the_sum_over_chunks_is_the_sum_over_all_edges(variant: str, request: pytest.FixtureRequest) -> None:
    whole = in_mode(potential_of(variant), "auto", batch())
    request.getfixturevalue("small_chunks")
    assert len(chunk_sizes(batch().num_edges, torch.device("cpu"))) > 5
    chunked = in_mode(potential_of(variant), "auto", batch())
    for name in ("energies", "forces", "stress"):
        ours, expected = (getattr(prediction, name).nan_to_num() for prediction in (chunked, whole))
        assert (ours - expected).abs().max() < 1e-12 * max(1.0, float(expected.abs().max())), name


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("variant", ALL)
def test_both_modes_give_the_same_bits(variant: str, dtype: torch.dtype) -> None:
    potential = potential_of(variant, dtype)
    fast, lean = (in_mode(potential, mode, batch()) for mode in ("fast", "lean"))
    for name in ("energy", "energies", "forces", "stress"):
        assert torch.equal(*(getattr(prediction, name).nan_to_num() for prediction in (fast, lean))), name


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("variant", ["default", "grid 6", "direct", "grid along edges, random frame"])
def test_training_gets_the_same_gradients(variant: str) -> None:
    gradients = []
    for mode in ("fast", "lean"):
        potential = EsenPotential((VARIANTS | ABLATIONS)[variant]).double().train()
        potential.load_state_dict(potential_of(variant).state_dict())
        prediction = in_mode(potential, mode, batch())
        loss = prediction.energy.sum() + prediction.forces.square().sum() + prediction.stress.nansum()
        loss.backward()
        gradients.append({name: p.grad for name, p in potential.named_parameters() if p.grad is not None})
    fast, lean = gradients
    assert fast.keys() == lean.keys()
    assert len(fast) > 20
    for name, gradient in fast.items():
        assert torch.allclose(gradient, lean[name], rtol=1e-12, atol=1e-12 * float(gradient.abs().max())), (
            name
        )


def kept(mode: Any) -> int:
    """Return the number of bytes kept for the derivative of the energy with respect to the edge vectors."""
    tensors: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        tensors[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    potential = potential_of("default").use_memory(mode)
    graph = batch()
    graph = replace(graph, positions=graph.positions.clone().requires_grad_())
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        energies = potential.atomic_energies(graph, edge_vectors(graph))
    potential.use_memory("auto")
    assert energies.requires_grad
    return sum(tensors.values())


@pytest.mark.usefixtures("small_chunks")
def test_the_lean_mode_keeps_a_fraction() -> None:
    assert kept("lean") < 0.25 * kept("fast")
