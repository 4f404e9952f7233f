"""Steps of training on the device, and a whole training on it."""

import threading
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from esen.files import Interrupted
from esen.graph.batch import make_graph
from esen.models.checkpoint import load_potential
from esen.models.potential import EsenPotential
from esen.recipe import BatchSpec, ConservativeSpec, DensSpec, DirectSpec
from esen.recipe.model import ForcesSpec
from esen.recipe.train import Precision, StageSpec, TrainSpec
from esen.train.batches import Batches
from esen.train.precision import matrix_products, prepared
from esen.train.progress import TrainDisplay
from esen.train.run_files import read_metrics
from esen.train.step import MicroBatch, Objective
from tests.device.small import predictions_apart
from tests.train.small import crystals, molecule, press_ctrl_c, recipe_of, write_frames
from tests.train.test_step import ALL, LOSS, batches, potential_of

DENS = DensSpec(corrupt_ratio=0.6)
each_head = pytest.mark.parametrize("forces", [ConservativeSpec(), DirectSpec()], ids=lambda f: f.kind)
each_step = pytest.mark.parametrize("seed", [None, 5], ids=["plain", "denoising"])


def gradient(potential: EsenPotential, parts: Sequence[MicroBatch], objective: Objective) -> Tensor:
    """Return the gradient of a batch by all weights, in one vector on the CPU."""
    potential.zero_grad()
    assert objective.add_gradient(potential, parts).total.isfinite()
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in potential.parameters()]
    return torch.cat([g.flatten().double().cpu() for g in found])


def parts_of(objective: Objective, seed: int | None, device: str) -> list[MicroBatch]:
    """Return all frames as one batch, a denoising one where there is a seed, ready to be copied to the device."""
    random = None if seed is None else np.random.default_rng(seed)
    return [part.ready_for(torch.device(device)) for part in objective.parts(batches(), ALL, random)]


@each_head
@each_step
def test_the_gradient_of_a_step(forces: ForcesSpec, seed: int | None, device: str) -> None:
    """That of the whole batch on the CPU, and of its parts on the device."""
    whole, divided = Objective(LOSS, DENS), Objective(LOSS, DENS, atoms=5)
    expected = gradient(potential_of(forces), parts_of(whole, seed, "cpu"), whole)
    found = gradient(potential_of(forces).to(device), parts_of(divided, seed, device), divided)
    assert float(expected.abs().max()) > 1e-3
    assert float((found - expected).abs().max()) < 1e-8 * float(expected.abs().max())


@each_head
def test_a_batch_without_edges(forces: ForcesSpec, device: str) -> None:
    """Its tensors of no elements are pinned and copied, too."""
    alone = [replace(molecule(number), forces=np.full((1, 3), 0.1)) for number in (8, 12)]
    frames, objective = Batches(alone, 3.5, BatchSpec(structures=2)), Objective(LOSS)
    on_device, on_cpu = (
        [part.ready_for(torch.device(place)) for part in objective.parts(frames, [0, 1])]
        for place in (device, "cpu")
    )
    assert on_cpu[0].graph.num_edges == 0
    expected = gradient(potential_of(forces), on_cpu, objective)
    found = gradient(potential_of(forces).to(device), on_device, objective)
    assert float(expected.abs().max()) > 1e-3
    assert float((found - expected).abs().max()) < 1e-8 * float(expected.abs().max())


@each_head
@each_step
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_steps_with_rounded_products(
    forces: ForcesSpec, seed: int | None, precision: Precision, device: str
) -> None:
    """Their gradient has the direction of that in float32, with a cosine above 0.99."""
    objective, found = Objective(LOSS, DENS), {}
    for kind in ("float32", precision):
        spec = TrainSpec(precision=kind, stages=(StageSpec(epochs=1),))
        potential = prepared(deepcopy(potential_of(forces)), spec).to(device)
        with matrix_products(kind, torch.device(device)):
            found[kind] = gradient(potential, parts_of(objective, seed, device), objective)
    exact, rounded = found["float32"], found[precision]
    assert bool(rounded.isfinite().all())
    assert float(torch.nn.functional.cosine_similarity(exact, rounded, dim=0)) > 0.99
    if precision == "bf16" or torch.device(device).type == "cuda":
        assert not torch.equal(exact, rounded)


STAGES = [
    {
        "epochs": 1,
        "forces": {"kind": "direct", "stress": {"kind": "none"}},
        "dens": {},
        "loss": {"stress": 0},
    },
    {"epochs": 2},
]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_training_that_is_interrupted(
    precision: Precision, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Direct forces with denoising, then conservative ones, stopped in the second stage and resumed."""
    from esen.study.train import run_training

    monkeypatch.setattr(Figure, "savefig", lambda _, file, **__: file.write(b"\x89PNG"))
    made: list[tuple[str, bool]] = []
    ready_for = MicroBatch.ready_for

    def watched(self: MicroBatch, place: torch.device) -> MicroBatch:
        ready = ready_for(self, place)
        made.append((threading.current_thread().name, ready.graph.positions.is_pinned()))
        return ready

    real, steps = TrainDisplay.step, [0]

    def step(self: TrainDisplay, frames: int, loss: float) -> None:
        steps[0] += 1
        if steps[0] == 5:
            press_ctrl_c()
        real(self, frames, loss)

    monkeypatch.setattr(MicroBatch, "ready_for", watched)
    monkeypatch.setattr(TrainDisplay, "step", step)
    recipe = recipe_of(
        write_frames(tmp_path / "train.xyz", crystals(9)), train__precision=precision, train__stages=STAGES
    )
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        run_training(recipe, folder, device=device)
    run_training(recipe, folder, resume=True, device=device)
    rows = [row for row in read_metrics(folder / "metrics.jsonl") if "train/loss" in row]
    assert [row["step"] for row in rows] == list(range(1, 10))
    assert np.isfinite([row["train/loss"] for row in rows]).all()
    assert all(name.startswith("prefetch") for name, _ in made)
    assert {pinned for _, pinned in made} == {torch.device(device).type == "cuda"}

    for name in ("best", "last"):
        there, here = (load_potential(folder / f"{name}.safetensors", device=on) for on in (device, "cpu"))
        graph = make_graph(crystals(3), here.cutoff)
        exact = load_potential(folder / f"{name}.safetensors", dtype=torch.float64)(graph)
        assert predictions_apart(there(graph.to(device)), exact) < 1e-5
        assert predictions_apart(here(graph), exact) < 1e-5
