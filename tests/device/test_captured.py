"""On a GPU, predictions that are replayed from a CUDA graph are those of the operations one by one.

On a CPU the same calls are computed directly, from the same filled-up graphs.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from ase.build import bulk

from esen.data.structure import Structure
from esen.graph.batch import make_graph
from esen.graph.types import Graph
from esen.md.calculator import EsenCalculator
from esen.models.captured import CALLS_BEFORE, CapturedPotential, can_be_captured, captured
from esen.models.checkpoint import save_checkpoint
from esen.models.potential import EsenPotential
from tests.device.conftest import DEVICE
from tests.device.small import ALL, batch, on_cpu, potential_on, predictions_apart, structures
from tests.models.test_checkpoint import checkpoint_of
from tests.models.variants import isolated, potential_of

VARIANTS = ["default", "direct"] if DEVICE == "cpu" else ALL
"""On a CPU all variants are computed in `tests/models/test_captured.py`."""


def moved(device: str, seed: int, among: Sequence[Structure] | None = None) -> Graph:
    """Return the batch of all tests with other positions and edges."""
    random = np.random.default_rng(seed)
    frames = [
        replace(s, positions=s.positions + random.normal(scale=0.03, size=s.positions.shape))
        for s in among or structures()
    ]
    return make_graph(frames, 4.0).to(device)


def ready(potential: EsenPotential, graph: Graph) -> CapturedPotential:
    """Return the potential after the calls that are computed directly."""
    program = CapturedPotential(potential)
    for _ in range(CALLS_BEFORE):
        program(graph)
    assert program.captures == 0
    return program


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant(variant: str, dtype: torch.dtype, device: str) -> None:
    potential = potential_on(device, variant, dtype)
    if not can_be_captured(potential):
        return
    program = ready(potential, batch(device))
    graphs = [moved(device, seed) for seed in range(4)]
    ours = [program(graph) for graph in graphs]  # the results of a call stay as they are in the next ones
    for prediction, graph in zip(ours, graphs, strict=True):
        expected = on_cpu(potential(graph))
        assert predictions_apart(on_cpu(prediction), expected) < (1e-10 if dtype == torch.float64 else 2e-4)
    assert program.captures == 1


def test_captures_of_other_sizes_and_of_more_edges(device: str) -> None:
    potential = potential_on(device, "default")
    program = ready(potential, batch(device))
    alone = [isolated([8], [[0, 0, 0]])]
    for seed in range(9):
        among = [structures(), structures()[:1], alone][seed // 3]
        graph = moved(device, seed, among)
        assert predictions_apart(on_cpu(program(graph)), on_cpu(potential(graph))) < 1e-10
    assert program.captures == 3
    for strain in (0.8, 1.0, 0.8):
        squeezed = [replace(s, positions=strain * s.positions, cell=strain * s.cell) for s in structures()]
        graph = moved(device, 20, squeezed)
        assert predictions_apart(on_cpu(program(graph)), on_cpu(potential(graph))) < 1e-10
    assert program.captures > 3


@pytest.mark.parametrize("mode", ["lean", "auto"])
def test_memory_modes(mode: str, device: str) -> None:
    potential = potential_on(device, "default").use_memory(mode)  # type: ignore[arg-type]
    program = ready(potential, batch(device))
    graph = moved(device, 1)
    with torch.no_grad():
        assert predictions_apart(on_cpu(program(graph)), on_cpu(potential(graph))) < 1e-10
    assert potential.network.backbone.memory == mode


@pytest.mark.parametrize("variant", ["default", "direct"])
def test_inference_mode(variant: str, device: str) -> None:
    potential = potential_on(device, variant)
    program, expected = CapturedPotential(potential), on_cpu(potential(batch(device)))
    for inside in (True, True, True, True, False, True):
        with torch.inference_mode(inside):
            assert predictions_apart(on_cpu(program(batch(device))), expected) < 1e-10
    assert program.captures == 1


def test_rounded_products(device: str) -> None:
    potential = potential_on(device, "default", torch.float32).use_products(torch.bfloat16)
    program = ready(potential, batch(device))
    graph = moved(device, 1)
    assert predictions_apart(on_cpu(program(graph)), on_cpu(potential(graph)), ["energies"]) < 0.02


def test_calculators_capture_on_a_gpu_unless_told_not_to(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "small.safetensors"
    save_checkpoint(path, checkpoint_of(potential_of("default")))
    atoms = bulk("Mg", "hcp") * (2, 2, 1)
    atoms.rattle(0.05, seed=1)
    ours, reference = EsenCalculator(path, device=device), EsenCalculator(path, device="cpu")
    assert isinstance(ours._predict, CapturedPotential) == (torch.device(device).type == "cuda")
    for seed in range(5):
        atoms.rattle(0.02, seed=seed)
        expected = reference.get_property("forces", atoms)
        assert np.abs(ours.get_property("forces", atoms) - expected).max() < 1e-6 * np.abs(expected).max()
    monkeypatch.setenv("ESEN_CUDA_GRAPHS", "0")
    potential = potential_on(device, "default")
    assert captured(potential) is potential


def test_while_another_thread_uses_the_device(device: str) -> None:
    potential, stop = potential_on(device, "default"), False

    def work() -> None:
        while not stop:
            torch.ones(100, device=device).sum().item()

    thread = Thread(target=work)
    thread.start()
    try:
        program = ready(potential, batch(device))
        graph = moved(device, 1)
        assert predictions_apart(on_cpu(program(graph)), on_cpu(potential(graph))) < 1e-10
    finally:
        stop = True
        thread.join()
