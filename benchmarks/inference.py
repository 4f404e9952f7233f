"""Measure energy, forces and stress of 216 silicon atoms on one thread: both memory modes, peers, hardware limit.

    python benchmarks/inference.py [--model 3|30] [--rounds 3] [--fairchem1 PYTHON] [--fairchem2 PYTHON]

`3` is the paper's two-layer model (3.2 M parameters) and `30` is its eSEN-30M. A peer is measured if the interpreter of
its environment is given. The programs take turns, each time in a new process. The time of a round is the median CPU
time of all calls but the first, its memory is the peak of all calls, and the printed numbers are medians over rounds.
If fairchem 1 is measured, esen uses its weights, and the results are compared. The limit is the arithmetic of the
matrix products (`esen recipe show`) at the rate of a float32 matrix product measured in the same process.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
CALLS = {"3": 5, "30": 3}


def ours(size: str, calls: int, mode: str, weights: str) -> None:
    """Measure esen in this process."""
    import torch
    from measure import report, silicon

    from esen.allocator import keep_freed_memory
    from esen.data.structure import Structure
    from esen.graph.batch import make_graph
    from esen.models.convert import import_published
    from esen.models.potential import make_potential
    from esen.recipe.model import ModelSpec

    keep_freed_memory()
    spec = ModelSpec() if size == "3" else ModelSpec(layers=10, lmax=3)
    if Path(weights).exists():
        potential = import_published(Path(weights)).potential
        assert potential.spec == spec
    else:
        potential = make_potential(spec, seed=0).eval().requires_grad_(False)
    potential.use_memory("lean" if mode == "lean" else "fast")
    atoms = silicon()

    def predict() -> tuple[float, Any]:
        frame = Structure(atoms.numbers.astype("int64"), atoms.positions, atoms.cell.array, atoms.pbc)
        with torch.no_grad():
            prediction = potential(make_graph(frame, potential.cutoff))
        return float(prediction.energy[0]), prediction.forces.numpy()

    report(predict, calls)


def gigaflop(size: str) -> float:
    """Return the GFLOP of all matrix products of energy, forces and stress, for the number of edges of the crystal."""
    from esen.models.cost import step_cost
    from esen.recipe.model import ModelSpec
    from esen.recipe.train import BatchSpec

    cost = step_cost(ModelSpec() if size == "3" else ModelSpec(layers=10, lmax=3), BatchSpec(atoms=216))
    edges = 9646
    forward = edges * (cost.layers * cost.edge_layer + cost.edge_embedding)
    forward += 216 * (cost.layers * cost.atom_layer + cost.head)
    return cost.inference_passes * forward / 1e9


def run(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=FOLDER)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=["3", "30"], default="3")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fairchem1", help="interpreter that has fairchem-core 1.10")
    parser.add_argument("--fairchem2", help="interpreter that has fairchem-core 2")
    asked = parser.parse_args()
    size, calls = asked.model, str(CALLS[asked.model])
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "weights.pt")
        programs: dict[str, list[str]] = {}
        if asked.fairchem1:
            programs["fairchem 1"] = [asked.fairchem1, "fairchem1.py", size, calls, weights]
        for mode in ("fast", "lean"):
            programs[f"esen, {mode}"] = [sys.executable, "inference.py", "--ours", size, calls, mode, weights]
        if asked.fairchem2:
            for mode in ("general", "umas_fast_pytorch"):
                programs[f"fairchem 2, {mode}"] = [asked.fairchem2, "fairchem2.py", size, calls, mode]
        measured: dict[str, list[dict[str, Any]]] = {name: [] for name in programs}
        for _ in range(asked.rounds):
            for name, command in programs.items():
                measured[name].append(run(command))
    table(size, measured)


def table(size: str, measured: dict[str, list[dict[str, Any]]]) -> None:
    """Print the medians over rounds and, if the weights are the same, the differences between the results."""
    work = gigaflop(size)
    first = next(iter(measured))
    print(
        f"{size} M parameters, 216 Si, {work:.0f} GFLOP of matrix products, torch {measured[first][0]['torch']}"
    )
    print(f"{'':32}{'CPU s':>8}{'first':>8}{'MiB':>8}{'of limit':>10}{'speed':>8}{'memory':>8}")
    reference: dict[str, float] = {}
    for name, rounds in measured.items():
        seconds = statistics.median(statistics.median(r["seconds"][1:]) for r in rounds)
        begin = statistics.median(r["seconds"][0] for r in rounds)
        peak = statistics.median(r["peak"] for r in rounds) / 2**20
        limit = statistics.median(1e9 * work / r["gemm"] for r in rounds)
        reference = reference or {"seconds": seconds, "peak": peak}
        row = f"{name:32}{seconds:8.2f}{begin:8.2f}{peak:8.0f}{100 * limit / seconds:9.0f}%"
        print(row + f"{reference['seconds'] / seconds:8.2f}{peak / reference['peak']:8.2f}")
    if first == "fairchem 1":
        theirs, mine = measured[first][0], measured["esen, fast"][0]
        pairs = zip(theirs["forces"], mine["forces"], strict=True)
        forces = max(abs(a - b) for one, other in pairs for a, b in zip(one, other, strict=True))
        print(f"same weights: energies differ by {abs(theirs['energy'] - mine['energy']):.1e} eV of", end=" ")
        print(f"{abs(theirs['energy']):.3g}, forces by {forces:.1e} eV/Å")
        lean = measured["esen, lean"][0]
        print(f"lean and fast give the same bits: {lean['forces'] == mine['forces']}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ours"]:
        ours(sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5])
    else:
        main()
