"""Every variant of the network predicts the same on the device as on the CPU."""

from functools import cache

import pytest
import torch

from esen.graph.batch import make_graph, separate
from esen.graph.types import Prediction
from esen.models import chunks
from esen.models.potential import EsenPotential
from tests.device.small import ALL, batch, on_cpu, potential_on, predictions_apart, structures
from tests.models.variants import isolated

MANY_CHUNKS = ["default", "direct", "grid along edges, random frame"]
"""All variants have them in `tests/models/test_chunks.py`."""


@cache
def one_by_one(variant: str) -> list[Prediction]:
    """Predict in float64 on the CPU, structure by structure; random frames are those of a batch of them."""
    potential = potential_on("cpu", variant)
    return [potential(make_graph(structure, potential.cutoff)) for structure in structures()]


def on_device(variant: str, dtype: torch.dtype, device: str) -> list[Prediction]:
    """Predict the same in one batch on the device."""
    graph = batch(device)
    return separate(on_cpu(potential_on(device, variant, dtype)(graph)), graph.to("cpu"))


@pytest.mark.parametrize("variant", ALL)
def test_float64(variant: str, device: str) -> None:
    pairs = zip(on_device(variant, torch.float64, device), one_by_one(variant), strict=True)
    assert max(predictions_apart(ours, expected) for ours, expected in pairs) < 1e-10


@pytest.mark.parametrize("variant", ALL)
def test_float32(variant: str, device: str) -> None:
    pairs = zip(on_device(variant, torch.float32, device), one_by_one(variant), strict=True)
    assert 0 < max(predictions_apart(ours, expected) for ours, expected in pairs) < 2e-5


@pytest.mark.parametrize("variant", ["default", "direct", "nearest", "grid along edges, random frame"])
def test_a_graph_without_edges(variant: str, device: str) -> None:
    atom = make_graph(isolated([8], [[0, 0, 0]]), 4.0)
    expected = potential_on("cpu", variant)(atom)
    potential = potential_on(device, variant).train()
    found = potential(atom.to(device))
    assert predictions_apart(on_cpu(found), expected, ["energy", "forces"]) < 1e-10
    found.energy.sum().backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in potential.parameters())


@pytest.fixture
def small_chunks(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the batch have many chunks."""
    monkeypatch.setitem(chunks.SMALLEST_CHUNK, torch.device(device).type, 20)
    monkeypatch.setattr(chunks, "MOST_CHUNKS", 1000)


@pytest.mark.parametrize("variant", MANY_CHUNKS)
def test_memory_modes_agree_in_one_chunk_and_in_many(
    variant: str, device: str, request: pytest.FixtureRequest
) -> None:
    graph = batch(device)
    whole = on_cpu(potential_on(device, variant).use_memory("fast")(graph))
    request.getfixturevalue("small_chunks")
    assert len(chunks.chunk_sizes(graph.num_edges, torch.device(device))) > 4
    fast, lean = (on_cpu(potential_on(device, variant).use_memory(mode)(graph)) for mode in ("fast", "lean"))
    assert predictions_apart(lean, fast) < 1e-12
    assert predictions_apart(fast, whole) < 1e-12


def gradients(potential: EsenPotential, device: str) -> dict[str, torch.Tensor]:
    prediction = potential.train()(batch(device))
    loss = prediction.energy.sum() + prediction.forces.square().sum() + prediction.stress.nansum()
    loss.backward()
    return {name: p.grad for name, p in potential.named_parameters() if p.grad is not None}


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("variant", MANY_CHUNKS)
def test_memory_modes_have_the_same_gradients(variant: str, device: str) -> None:
    fast, lean = (
        gradients(potential_on(device, variant).use_memory(mode), device) for mode in ("fast", "lean")
    )
    assert fast.keys() == lean.keys()
    assert len(fast) > 20
    size = max(float(gradient.abs().max()) for gradient in fast.values())
    for name, gradient in fast.items():
        assert float((gradient - lean[name]).abs().max()) < 1e-12 * size, name
