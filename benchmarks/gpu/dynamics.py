"""Velocity Verlet of silicon at 300 K: time per step, share of the bare prediction in it, and drift of the energy."""

import time
from typing import Any

import numpy as np
import torch
from common import attempt, graph_of, network, options, silicon, synchronize, timed

from esen.graph.types import Potential
from esen.md.engine import Start
from esen.md.nve import BatchNve
from esen.md.velocities import maxwell_boltzmann, without_drift
from esen.models.captured import CapturedPotential
from esen.models.potential import EsenPotential

SILICON = 28.0855


def start_of(atoms: int) -> Start:
    structure = silicon(atoms)
    masses = np.full(len(structure), SILICON)
    return Start(structure, masses, without_drift(maxwell_boltzmann(masses, 300.0, 0), masses))


def main() -> None:
    asked = options(__doc__)
    device = asked.device
    name = "tiny" if asked.small else "3.2M"
    plans = [(8, 1, 20)] if asked.small else [(216, 1, 2000), (1000, 1, 400), (64, 16, 400)]
    for mode in ("eager", "CUDA graph"):  # in this order, because nothing may work after a failed capture
        for precision in (torch.float32, torch.float64):
            potential = network(name, device, precision)
            for atoms, systems, steps in plans[: 1 if precision == torch.float64 else None]:

                def measure(
                    potential: EsenPotential = potential,
                    atoms: int = atoms,
                    systems: int = systems,
                    steps: int = steps,
                    mode: str = mode,
                ) -> dict[str, Any]:
                    program: Potential = potential if mode == "eager" else CapturedPotential(potential)
                    some = steps if mode == "CUDA graph" else max(steps // 10, 5)
                    return run(program, atoms, systems, some, device)

                what = {"model": name, "atoms": atoms, "systems": systems, "mode": mode}
                attempt(what | {"precision": str(precision).removeprefix("torch.")}, measure)


def run(potential: Potential, atoms: int, systems: int, steps: int, device: str) -> dict[str, Any]:
    """Integrate and return times and energies; the first tenth of the steps is not timed."""
    engine = BatchNve(potential, [start_of(atoms)] * systems, 1.0, device=device)
    engine.advance(max(steps // 10, 2))
    before = engine.searches
    totals, times = [], []
    for _ in range(10):
        synchronize(device)
        begun = time.perf_counter()
        engine.advance(max(steps // 10, 1))
        synchronize(device)
        times.append(1000 * (time.perf_counter() - begun) / max(steps // 10, 1))
        energy, kinetic = engine.observe()
        totals.append(float((energy + kinetic).sum()) / (atoms * systems))
    whole = 1000 * (np.array(totals) - totals[0])
    result: dict[str, Any] = {
        "steps": 10 * max(steps // 10, 1),
        "ms_per_step": round(float(np.median(times)), 3),
        "searches": engine.searches - before,
        "energy_change_meV_per_atom": float(whole[-1]),
        "energy_range_meV_per_atom": float(whole.max() - whole.min()),
    }
    if systems == 1:
        graph = graph_of(atoms, potential.cutoff, device)
        bare = timed(lambda: potential(graph), device)["ms"]
        result |= {"bare_ms": bare, "overhead": round(result["ms_per_step"] / bare - 1, 3)}
    if hasattr(potential, "captures"):
        result["captures"] = potential.captures
    return result


if __name__ == "__main__":
    main()
