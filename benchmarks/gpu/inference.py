"""Energy, forces and stress: operation by operation and as one CUDA graph, in float32 and TF32, beside float64."""

import os
from functools import partial
from typing import Any

import torch
from common import SPECS, attempt, graph_of, network, options, timed

from esen.graph.types import Graph, Potential
from esen.models.captured import CALLS_BEFORE, CapturedPotential
from esen.models.cost import step_cost
from esen.models.potential import EsenPotential
from esen.recipe.train import BatchSpec


def gigaflop(name: str, graph: Graph) -> float:
    """Return the arithmetic of all matrix products of a prediction with forces and stress, in GFLOP."""
    cost = step_cost(SPECS[name], BatchSpec(atoms=graph.num_atoms))
    forward = graph.num_edges * (cost.layers * cost.edge_layer + cost.edge_embedding)
    forward += graph.num_atoms * (cost.layers * cost.atom_layer + cost.head)
    return cost.inference_passes * forward / 1e9


def main() -> None:
    asked = options(__doc__)
    device = asked.device
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it no product is deterministic
    sizes = {"tiny": [8, 64]} if asked.small else {"3.2M": [64, 216, 1000, 4096], "30M": [216, 1000, 4096]}
    exact = {
        name: {} if name == "30M" else reference(name, [n for n in systems if n <= 1000], device)
        for name, systems in sizes.items()
    }
    repeated = network("tiny" if asked.small else "3.2M", device), 64 if asked.small else 216
    bits(*repeated, device)
    for mode in ("eager", "CUDA graph"):  # in this order, because nothing may work after a failed capture
        for name, systems in sizes.items():
            potential = network(name, device)
            for atoms in systems:
                graph = graph_of(atoms, potential.cutoff, device)
                flop = gigaflop(name, graph)
                for precision in ("float32", "tf32"):
                    what = {"model": name, "atoms": atoms, "edges": graph.num_edges}
                    expected = exact[name].get(atoms)
                    attempt(
                        what | {"mode": mode, "precision": precision},
                        partial(measure, potential, graph, mode, precision, expected, flop, device),
                    )
    if device.startswith("cuda"):
        attempt({"what": "repeated predictions of a CUDA graph"}, partial(graph_bits, *repeated, device))


def measure(
    potential: EsenPotential,
    graph: Graph,
    mode: str,
    precision: str,
    exact: torch.Tensor | None,
    flop: float,
    device: str,
) -> dict[str, Any]:
    """Measure predictions, and compare their forces with those in float64."""
    program: Potential = potential if mode == "eager" else CapturedPotential(potential)
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        measured = timed(lambda: program(graph), device, budget=1.0)
        forces = program(graph).forces
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
    if exact is not None:
        measured["largest_force"] = float(exact.abs().max())
        measured["force_error"] = float((forces - exact).abs().max())
    return measured | {
        "GFLOP": round(flop, 1),
        "TFLOP/s": round(flop / measured["ms"], 2),
        "million_steps_per_day": round(86.4 / measured["ms"], 2),
    }


def reference(name: str, systems: list[int], device: str) -> dict[int, torch.Tensor]:
    """Return the forces in float64, and print their time."""
    potential = network(name, device, torch.float64)
    forces = {}
    for atoms in systems:
        graph = graph_of(atoms, potential.cutoff, device)

        def measure(graph: Graph = graph) -> dict[str, Any]:
            forces[graph.num_atoms] = potential(graph).forces
            return timed(lambda: potential(graph), device, budget=1.0)

        attempt({"model": name, "atoms": atoms, "mode": "eager", "precision": "float64"}, measure)
    return forces


def bits(potential: Any, atoms: int, device: str) -> None:
    """Print whether predictions repeat their bits, and what deterministic sums cost."""
    graph = graph_of(atoms, potential.cutoff, device)
    for deterministic in (False, True):

        def measure(deterministic: bool = deterministic) -> dict[str, Any]:
            torch.use_deterministic_algorithms(deterministic)
            try:
                first, others = potential(graph).forces, [potential(graph).forces for _ in range(5)]
                largest = max(float((first - other).abs().max()) for other in others)
                timing = timed(lambda: potential(graph), device)
                return {"largest_difference": largest, "equal_bits": largest == 0, **timing}
            finally:
                torch.use_deterministic_algorithms(False)

        attempt({"what": "repeated predictions", "deterministic_algorithms": deterministic}, measure)


def graph_bits(potential: EsenPotential, atoms: int, device: str) -> dict[str, Any]:
    """Return whether replayed predictions repeat their bits."""
    graph, program = graph_of(atoms, potential.cutoff, device), CapturedPotential(potential)
    for _ in range(CALLS_BEFORE):
        program(graph)
    first = program(graph).forces
    largest = max(float((first - program(graph).forces).abs().max()) for _ in range(5))
    return {"largest_difference": largest, "equal_bits": largest == 0, "captures": program.captures}


if __name__ == "__main__":
    main()
