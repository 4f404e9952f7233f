"""Compare the CPU time of a prediction with and without `keep_freed_memory`.

    python benchmarks/allocator.py

Each variant is measured in separate processes that take turns. The medians and their ratio are printed.
"""

import statistics
import subprocess
import sys
import time

ROUNDS, REPEATS = 3, 5


def seconds_per_prediction(keep: bool) -> float:
    """Return the median CPU seconds of a prediction for 216 atoms by the paper's two-layer model (3.2 M)."""
    import torch
    from ase.build import bulk

    from esen.allocator import keep_freed_memory
    from esen.data.structure import Structure
    from esen.graph.batch import make_graph
    from esen.models.potential import make_potential
    from esen.recipe.model import ModelSpec

    if keep:
        keep_freed_memory()
    atoms = bulk("Si", cubic=True).repeat(3)
    atoms.rattle(0.05, seed=0)
    frame = Structure(atoms.numbers.astype("int64"), atoms.positions, atoms.cell.array, atoms.pbc)
    potential = make_potential(ModelSpec(), seed=0).eval().requires_grad_(False)
    graph = make_graph(frame, potential.cutoff)
    times = []
    torch.set_num_threads(1)
    for _ in range(REPEATS + 2):
        start = time.process_time()
        prediction = potential(graph)
        times.append(time.process_time() - start)
    assert torch.isfinite(prediction.energy).all()
    return statistics.median(times[2:])


def main() -> None:
    """Measure both variants in turn and print the result."""
    measured: dict[str, list[float]] = {"keep": [], "free": []}
    for _ in range(ROUNDS):
        for how, values in measured.items():
            output = subprocess.run(
                [sys.executable, __file__, how], check=True, capture_output=True, text=True
            )
            values.append(float(output.stdout))
    keep, free = (statistics.median(measured[how]) for how in ("keep", "free"))
    print(f"CPU s per prediction: {free:.3f} without, {keep:.3f} with; ratio {free / keep:.2f}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(seconds_per_prediction(sys.argv[1] == "keep"))
    else:
        main()
