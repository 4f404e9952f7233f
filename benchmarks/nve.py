"""Compare the time per step of the integrator and its neighbour list with the bare model and with ASE's loop.

    python benchmarks/nve.py [--model 3|small] [--repeats 3] [--steps 20] [--rounds 5] [--device cpu]

The system is silicon at 1000 K with a time step of 1 fs. Three programs take turns: the bare model on a graph that was
made before, a step of `BatchNve`, and a step of ASE's `VelocityVerlet` with `EsenCalculator`. `3` is the paper's
two-layer model (3.2 M parameters) and `small` is that of quickstart, both with random weights. Times are CPU seconds of
one thread, or wall-clock seconds on a GPU, as medians over rounds.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from ase import units
from ase.md.verlet import VelocityVerlet
from measure import silicon

from esen.allocator import keep_freed_memory
from esen.data.atoms import from_atoms
from esen.graph.batch import make_graph
from esen.graph.types import Graph
from esen.md.calculator import EsenCalculator
from esen.md.engine import Start
from esen.md.nve import BatchNve
from esen.md.velocities import maxwell_boltzmann, without_drift
from esen.models.potential import make_potential
from esen.recipe.model import ModelSpec

KELVIN, TIMESTEP_FS = 1000.0, 1.0


def spec_of(name: str) -> ModelSpec:
    if name == "3":
        return ModelSpec()
    return ModelSpec(cutoff=4.0, sphere_channels=32, hidden_channels=32, edge_channels=32)


def seconds_per_step(advance: Callable[[], object], steps: int, device: str) -> float:
    clock = time.process_time if device == "cpu" else time.perf_counter
    begun = clock()
    for _ in range(steps):
        advance()
    if device != "cpu":
        torch.cuda.synchronize()
    return (clock() - begun) / steps


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=["3", "small"], default="3")
    parser.add_argument(
        "--repeats", type=int, default=3, help="repeats of the cell of 8 atoms along each axis"
    )
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    keep_freed_memory()
    potential = make_potential(spec_of(options.model), seed=0).eval().requires_grad_(False)
    potential = potential.to(options.device)
    atoms = silicon(options.repeats)
    masses = atoms.get_masses()
    start = Start(
        from_atoms(atoms, "Si"), masses, without_drift(maxwell_boltzmann(masses, KELVIN, 0), masses)
    )
    engine = BatchNve(potential, [start], TIMESTEP_FS, device=options.device)
    atoms.set_momenta(start.momenta)
    atoms.calc = EsenCalculator(potential, device=options.device)
    dynamics = VelocityVerlet(atoms, TIMESTEP_FS * units.fs)

    def graph_now() -> Graph:
        positions = engine.snapshot(0).positions
        return make_graph(replace(start.structure, positions=positions), potential.cutoff).to(options.device)

    graph = graph_now()
    programs: dict[str, Callable[[], object]] = {
        "bare model": lambda: potential(graph),
        "esen": engine.advance,
        "ASE's loop": lambda: dynamics.run(1),
    }
    times: dict[str, list[float]] = {name: [] for name in programs}
    for program in programs.values():
        seconds_per_step(program, 2, options.device)  # warm-up
    for _ in range(options.rounds):
        graph = graph_now()  # the atoms have moved, so the number of edges has changed
        for name, program in programs.items():
            times[name].append(seconds_per_step(program, options.steps, options.device))
    bare = statistics.median(times["bare model"])
    print(
        f"{len(atoms)} atoms, {graph.num_edges} edges, {engine.step} steps, {engine.searches} neighbour searches"
    )
    for name, values in times.items():
        middle = statistics.median(values)
        ratios = [value / base for value, base in zip(values, times["bare model"], strict=True)]
        print(
            f"{name:12} {1000 * middle:8.1f} ms per step, {statistics.median(ratios):6.3f} × the bare model"
            f" ({min(ratios):.3f} to {max(ratios):.3f})"
        )
    print(f"{86400 / bare / 1e6:.3f} million bare calls per day")


if __name__ == "__main__":
    main()
