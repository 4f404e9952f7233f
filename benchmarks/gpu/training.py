"""Training steps: conservative and direct, in float32, TF32 and bfloat16, with and without compilation."""

import math
import time
from dataclasses import replace
from typing import Any

import torch
from common import SPECS, attempt, options, silicon, synchronize, timed

from esen.graph.batch import make_graph, make_labels
from esen.models.potential import make_potential
from esen.recipe.model import DirectSpec
from esen.recipe.train import LossSpec, Precision, StageSpec, TrainSpec
from esen.train.precision import matrix_products, prepared
from esen.train.step import MicroBatch, Objective


def main() -> None:
    asked = options(__doc__)
    device = torch.device(asked.device)
    models = ["tiny"] if asked.small else ["3.2M", "30M"]
    batches = {"tiny": [(8, 2)], "3.2M": [(64, 1), (64, 16), (216, 1)], "30M": [(64, 4)]}
    for name in models:
        for kind in ("conservative", "direct"):
            for precision in ("float32", "tf32", "bf16"):
                for atoms, systems in batches[name]:
                    what = {"model": name, "forces": kind, "precision": precision, "compiled": False}
                    attempt(
                        what | {"atoms": atoms, "systems": systems},
                        lambda n=name, k=kind, p=precision, a=atoms, s=systems: step(n, k, p, a, s, device),
                    )
    name = models[0]
    for kind in ("conservative",) if not asked.small else ():
        for atoms, systems in batches[name][:2]:
            what = {"model": name, "forces": kind, "precision": "float32", "compiled": True}
            attempt(
                what | {"atoms": atoms, "systems": systems},
                lambda n=name, k=kind, a=atoms, s=systems: step(n, k, "float32", a, s, device, True),
            )


def step(
    name: str,
    kind: str,
    precision: Precision,
    atoms: int,
    systems: int,
    device: torch.device,
    compiled: bool = False,
) -> dict[str, Any]:
    """Measure the gradient of a batch, clipping and the optimiser."""
    spec = SPECS[name]
    if kind == "direct":
        spec = spec.model_copy(update={"forces": DirectSpec()})
    train = TrainSpec(precision=precision, stages=(StageSpec(epochs=1),))
    potential = prepared(make_potential(spec, seed=0), train).to(device).train().use_compilation(compiled)
    optimizer = torch.optim.AdamW(potential.parameters(), lr=1e-6)
    objective = Objective(LossSpec())
    frame = replace(silicon(atoms), forces=0 * silicon(atoms).positions)
    graph = make_graph([frame] * systems, spec.cutoff)
    part = MicroBatch(graph, make_labels([frame] * systems)).ready_for(device)

    def once() -> float:
        optimizer.zero_grad()
        loss = float(objective.add_gradient(potential, [part]).total)
        torch.nn.utils.clip_grad_norm_(potential.parameters(), 100.0)
        optimizer.step()
        return loss

    begun = time.perf_counter()
    first = once()
    synchronize(str(device))
    seconds = time.perf_counter() - begun
    with matrix_products(precision, device):
        measured = timed(once, str(device), budget=2.0)
    rate = round(1000 * atoms * systems / measured["ms"])
    return measured | {"atoms_per_s": rate, "first_s": round(seconds, 1), "finite": math.isfinite(first)}


if __name__ == "__main__":
    main()
