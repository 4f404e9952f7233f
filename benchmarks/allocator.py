"""What keeping freed memory is worth: CPU seconds of a training step with and without `keep_freed_memory`.

    python benchmarks/allocator.py

Each is measured in a process of its own, by turns; medians, and their ratio, in one run.
"""

import statistics
import subprocess
import sys
import time

ROUNDS, STEPS = 3, 8


def seconds_a_step(keep: bool) -> float:
    """Median CPU seconds of a training step of the quickstart's model on four frames of 64 atoms."""
    import torch
    from ase.build import bulk

    from esen.allocator import keep_freed_memory
    from esen.data.structure import Structure
    from esen.graph.batch import make_graph
    from esen.models.potential import make_potential
    from esen.recipe.model import ModelSpec

    if keep:
        keep_freed_memory()
    frames = []
    for seed in range(4):
        atoms = bulk("MgO", "rocksalt", a=4.25, cubic=True).repeat(2)
        atoms.rattle(0.1, seed=seed)
        frames.append(Structure(atoms.numbers.astype("int64"), atoms.positions, atoms.cell.array, atoms.pbc))
    spec = ModelSpec(cutoff=4.0, sphere_channels=32, hidden_channels=32, edge_channels=32)
    potential = make_potential(spec, seed=0).train()
    graph = make_graph(frames, spec.cutoff)
    times = []
    for _ in range(STEPS + 2):
        start = time.process_time()
        prediction = potential(graph)
        (prediction.energy.sum() + prediction.forces.square().sum()).backward()
        potential.zero_grad()
        times.append(time.process_time() - start)
    assert torch.isfinite(prediction.energy).all()
    return statistics.median(times[2:])


def main() -> None:
    """Measure both by turns."""
    measured: dict[str, list[float]] = {"keep": [], "free": []}
    for _ in range(ROUNDS):
        for how, values in measured.items():
            output = subprocess.run([sys.executable, __file__, how], check=True, capture_output=True, text=True)
            values.append(float(output.stdout))
    keep, free = (statistics.median(measured[how]) for how in ("keep", "free"))
    print(f"CPU s a step: {free:.3f} without, {keep:.3f} with; ratio {free / keep:.2f}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(seconds_a_step(sys.argv[1] == "keep"))
    else:
        main()
