"""What waiting threads cost: a training step with OpenMP threads that spin for long while they wait, and for a moment.

    python benchmarks/threads.py

Each on idle cores, and beside a process that keeps one core busy; two threads, by turns, medians in one run.
`esen` sets GOMP_SPINCOUNT=5000 unless the user has set it or OMP_WAIT_POLICY.
"""

import os
import statistics
import subprocess
import sys
import time

ROUNDS, STEPS = 3, 12


def seconds_a_step() -> float:
    """Median wall seconds of a training step of the quickstart's model on one frame of 64 atoms."""
    import torch
    from ase.build import bulk

    from esen.data.structure import Structure
    from esen.graph.batch import make_graph
    from esen.models.potential import make_potential
    from esen.recipe.model import ModelSpec

    torch.set_num_threads(2)
    atoms = bulk("MgO", "rocksalt", a=4.25, cubic=True).repeat(2)
    atoms.rattle(0.1, seed=0)
    frame = Structure(atoms.numbers.astype("int64"), atoms.positions, atoms.cell.array, atoms.pbc)
    spec = ModelSpec(cutoff=4.0, sphere_channels=32, hidden_channels=32, edge_channels=32)
    potential = make_potential(spec, seed=0).train()
    graph = make_graph(frame, spec.cutoff)
    times = []
    for _ in range(STEPS + 3):
        start = time.perf_counter()
        prediction = potential(graph)
        (prediction.energy.sum() + prediction.forces.square().sum()).backward()
        potential.zero_grad()
        times.append(time.perf_counter() - start)
    return statistics.median(times[3:])


def measure(spins: str, beside: bool) -> float:
    """In a process of its own, with or without a busy neighbour."""
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if beside else None
    try:
        command = [sys.executable, __file__, "measure"]
        env = os.environ | ({"GOMP_SPINCOUNT": spins} if spins else {})
        return float(subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout)
    finally:
        if neighbour is not None:
            neighbour.kill()


def main() -> None:
    """Measure all four by turns."""
    cases = [(spins, beside) for beside in (False, True) for spins in ("", "5000")]
    measured: dict[tuple[str, bool], list[float]] = {case: [] for case in cases}
    for _ in range(ROUNDS):
        for case in cases:
            measured[case].append(measure(*case))
    for beside in (False, True):
        default, ours = (statistics.median(measured[spins, beside]) for spins in ("", "5000"))
        where = "beside a busy process" if beside else "on idle cores"
        print(
            f"{where}: {default:.3f} s a step by default, {ours:.3f} s with ours; ratio {default / ours:.2f}"
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(seconds_a_step())
    else:
        main()
