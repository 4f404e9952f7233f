"""Measure a step of conservative training of 216 silicon atoms on one thread: both memory modes and the published code.

    python benchmarks/training.py [--model 3|30] [--rounds 3] [--fairchem1 PYTHON]

A step makes the graph, predicts, differentiates the loss (energy, forces, stress), clips the gradient, and updates the
weights by AdamW. Time and memory are measured as in `inference.py`.
"""

import argparse
import statistics
import sys
from typing import Any

from inference import run

CALLS = {"3": 5, "30": 3}


def ours(size: str, calls: int, mode: str) -> None:
    """Measure esen in this process."""
    import numpy as np
    import torch
    from measure import report, silicon

    from esen.allocator import keep_freed_memory
    from esen.data.structure import Structure
    from esen.graph.batch import make_graph
    from esen.graph.types import Labels
    from esen.models.potential import make_potential
    from esen.recipe.model import ModelSpec
    from esen.recipe.train import LossSpec
    from esen.train.targets import training_loss

    keep_freed_memory()
    spec = ModelSpec() if size == "3" else ModelSpec(layers=10, lmax=3)
    potential = make_potential(spec, seed=0).train().use_memory("lean" if mode == "lean" else "fast")
    optimizer = torch.optim.AdamW(potential.parameters(), lr=1e-9)
    atoms = silicon()
    zeros = (torch.zeros(size, dtype=torch.float64) for size in ((1,), (len(atoms), 3), (1, 3, 3)))
    labels = Labels(*zeros)

    def once() -> tuple[float, Any]:
        frame = Structure(atoms.numbers.astype("int64"), atoms.positions, atoms.cell.array, atoms.pbc)
        graph = make_graph(frame, potential.cutoff)
        loss = training_loss(LossSpec(), 1.0, potential(graph), labels, graph).total
        loss.backward()
        torch.nn.utils.clip_grad_norm_(potential.parameters(), 100)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss), np.zeros((1, 3))

    report(once, calls)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=["3", "30"], default="3")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fairchem1", help="interpreter that has fairchem-core 1.10")
    asked = parser.parse_args()
    size, calls = asked.model, str(CALLS[asked.model])
    programs: dict[str, list[str]] = {}
    if asked.fairchem1:
        programs["fairchem 1"] = [asked.fairchem1, "fairchem1.py", size, calls, "train"]
    for mode in ("fast", "lean"):
        programs[f"esen, {mode}"] = [sys.executable, "training.py", "--ours", size, calls, mode]
    measured: dict[str, list[dict[str, Any]]] = {name: [] for name in programs}
    for _ in range(asked.rounds):
        for name, command in programs.items():
            measured[name].append(run(command))
    print(f"{size} M parameters, 216 Si, torch {measured['esen, fast'][0]['torch']}")
    print(f"{'':20}{'CPU s per step':>15}{'atoms/s':>10}{'MiB':>8}{'speed':>8}{'memory':>8}")
    reference: dict[str, float] = {}
    for name, rounds in measured.items():
        seconds = statistics.median(statistics.median(r["seconds"][1:]) for r in rounds)
        peak = statistics.median(r["peak"] for r in rounds) / 2**20
        reference = reference or {"seconds": seconds, "peak": peak}
        row = f"{name:20}{seconds:15.2f}{216 / seconds:10.1f}{peak:8.0f}"
        print(row + f"{reference['seconds'] / seconds:8.2f}{peak / reference['peak']:8.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ours"]:
        ours(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        main()
