"""Compare the relaxation of many small crystals in one batch with ASE, one crystal after the other.

    python benchmarks/relax.py [--model small|3] [--crystals 24] [--rounds 3] [--steps 20] [--device cpu]

Positions and cells of perturbed crystals of 2 to 8 atoms are relaxed by the same algorithm (ASE's FIRE and
FrechetCellFilter) for the same number of steps, with random weights in float64. `small` is the quickstart's model and
`3` is the paper's model of two layers (3.2 M parameters). Two programs take turns: `relax` and `together` with all
crystals in one batch, and plain ASE with `EsenCalculator` for each crystal. Their final steps and energies must agree.
Times are CPU seconds of one thread, or wall-clock seconds on a GPU, as medians over rounds.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE
from measure import gemm_rate

from esen.allocator import keep_freed_memory
from esen.data.atoms import from_atoms
from esen.data.structure import Structure
from esen.evaluate.batched import run_batched
from esen.evaluate.relax import Relaxed, RelaxSpec, relax
from esen.graph.types import Potential
from esen.md.calculator import EsenCalculator
from esen.models.potential import EsenPotential, make_potential
from esen.recipe.model import ModelSpec


def spec_of(name: str) -> ModelSpec:
    if name == "3":
        return ModelSpec()
    return ModelSpec(cutoff=4.0, sphere_channels=32, hidden_channels=32, edge_channels=32)


def crystals(count: int) -> list[Structure]:
    """Return MgO (2 atoms), silicon (2), copper (4) and silicon (8) in turn, strained by 1 % and rattled by 0.05 Å."""
    made = []
    for seed in range(count):
        atoms = [
            bulk("MgO", "rocksalt", a=4.25),
            bulk("Si"),
            bulk("Cu", cubic=True),
            bulk("Si", cubic=True),
        ][seed % 4]
        random = np.random.default_rng(seed)
        atoms.set_cell(atoms.cell @ (np.eye(3) + 0.01 * random.standard_normal((3, 3))), scale_atoms=True)
        atoms.rattle(0.05, seed=seed)
        made.append(from_atoms(atoms, f"crystal {seed}"))
    return made


def batched(
    potential: EsenPotential, structures: list[Structure], spec: RelaxSpec, device: str
) -> list[Relaxed]:
    def procedure(structure: Structure) -> Callable[[Potential], Relaxed]:
        return lambda shared: relax(structure, EsenCalculator(shared), spec)

    sizes = [len(structure) for structure in structures]
    found = run_batched(
        [procedure(structure) for structure in structures],
        potential,
        sizes=sizes,
        budget=sum(sizes),
        device=device,
    )
    assert all(isinstance(one, Relaxed) for one in found), found
    return found


def plain(
    calculator: EsenCalculator, structures: list[Structure], spec: RelaxSpec
) -> list[tuple[int, float]]:
    """Return the number of steps and the final energy of each structure, relaxed by plain ASE."""
    ends = []
    for s in structures:
        atoms = Atoms(s.numbers, s.positions, cell=s.cell, pbc=s.pbc, calculator=calculator)
        optimizer = FIRE(FrechetCellFilter(atoms), logfile=None)
        optimizer.run(fmax=spec.fmax, steps=spec.steps)
        ends.append((optimizer.nsteps, atoms.get_potential_energy()))
    return ends


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=["small", "3"], default="small")
    parser.add_argument("--crystals", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    keep_freed_memory()
    potential = make_potential(spec_of(options.model), seed=0).double().eval().requires_grad_(False)
    potential = potential.to(options.device)
    structures = crystals(options.crystals)
    spec = RelaxSpec(fmax=1e-9, steps=options.steps)
    alone = EsenCalculator(potential)
    programs: dict[str, Callable[[], list[tuple[int, float]]]] = {
        "one by one": lambda: plain(alone, structures, spec),
        "together": lambda: [
            (one.steps, one.structure.energy) for one in batched(potential, structures, spec, options.device)
        ],
    }
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(options.rounds):
        ends = {}
        for name, program in programs.items():
            begun = clock()
            ends[name] = program()
            times[name].append(clock() - begun)
        steps, energies = (np.array(column) for column in zip(*ends["together"], strict=True))
        steps_alone, energies_alone = (np.array(column) for column in zip(*ends["one by one"], strict=True))
        difference = np.abs(energies - energies_alone).max()
        assert difference < 1e-8, difference
        assert (steps == steps_alone).all()
    steps = steps.sum()
    atoms = sum(map(len, structures))
    print(
        f"{len(structures)} crystals, {atoms} atoms, {steps} steps in total, {gemm_rate() / 1e9:.1f} GFLOP/s"
    )
    for name, values in times.items():
        print(f"{name:12} {1000 * statistics.median(values) / steps:8.2f} ms per step and crystal")
    ratios = [one / both for one, both in zip(times["one by one"], times["together"], strict=True)]
    print(
        f"together is {statistics.median(ratios):.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f});"
        f" energies agree within {difference:.1e} eV"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
