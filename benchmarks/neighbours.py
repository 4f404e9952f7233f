"""Measure the backends of `model.graph.backend`: milliseconds from structures to edges, and the ratio to vesin.

    python benchmarks/neighbours.py

All backends take turns in one process, and the best of several times counts. Backends that are not installed are left
out. The edges are compared as well. The time in which Warp compiles the kernels of nvalchemi is not counted.
"""

import time

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from rich.console import Console
from rich.table import Table

from esen.data.structure import Structure
from esen.errors import InputError
from esen.graph.backends import find_edges, require_backend
from esen.recipe.model import Backend

CUTOFF, REPEATS = 6.0, 10
BACKENDS: tuple[Backend, ...] = ("vesin", "torch_cluster", "nvalchemi")
CRYSTALS = [
    (bulk("Cu", "fcc", a=3.6, cubic=True), (2, 2, 2)),  # 32 atoms
    (bulk("Fe", "bcc", a=2.87, cubic=True), (3, 3, 2)),  # 36
    (bulk("Si", "diamond", a=5.43, cubic=True), (2, 2, 1)),  # 32
    (bulk("NaCl", "rocksalt", a=5.64, cubic=True), (2, 2, 1)),  # 32
]


def rattled(atoms: Atoms, repeats: tuple[int, int, int], seed: int) -> Structure:
    """Return a supercell whose atoms are displaced by about 0.05 Å."""
    large = atoms.repeat(repeats)
    large.rattle(0.05, seed=seed)
    return Structure(large.numbers.astype("int64"), large.positions, large.cell.array, large.pbc)


def milliseconds(structures: list[Structure], backends: list[Backend]) -> dict[Backend, float]:
    """Return the best of several times of each backend; the backends take turns."""
    best = dict.fromkeys(backends, float("inf"))
    for _ in range(REPEATS + 1):  # the first is rarely the best, so it needs no special treatment
        for backend in backends:
            start = time.perf_counter()
            find_edges(structures, CUTOFF, backend)
            best[backend] = min(best[backend], 1e3 * (time.perf_counter() - start))
    return best


def main() -> None:
    """Measure the backends, compare their edges, and print a table."""
    torch.set_num_threads(1)
    backends: list[Backend] = []
    for backend in BACKENDS:
        try:
            require_backend(backend)
            backends.append(backend)
        except InputError as error:
            print(f"left out: {error}")
    silicon = bulk("Si", "diamond", a=5.43, cubic=True)
    systems = {
        "216 Si": [rattled(silicon, (3, 3, 3), 0)],
        "64 crystals": [rattled(*CRYSTALS[i % len(CRYSTALS)], i) for i in range(64)],
        "10,648 Si": [rattled(silicon, (11, 11, 11), 0)],
    }
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "the CPU"
    table = Table(title=f"milliseconds to all edges up to {CUTOFF:g} Å (nvalchemi on {where})")
    for title in ("structures", "atoms", "edges", *backends, *(f"{name} / vesin" for name in backends[1:])):
        table.add_column(title, justify="right")
    for name, structures in systems.items():
        reference = find_edges(structures, CUTOFF, "vesin")
        for backend in backends[1:]:
            for ours, theirs in zip(find_edges(structures, CUTOFF, backend), reference, strict=True):
                assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True)), backend
        best = milliseconds(structures, backends)
        edges = sum(len(sender) for sender, _, _ in reference)
        times = [f"{best[backend]:.1f}" for backend in backends]
        ratios = [f"{best[backend] / best['vesin']:.1f}" for backend in backends[1:]]
        table.add_row(name, f"{sum(map(len, structures)):,}", f"{edges:,}", *times, *ratios)
    Console(width=125).print(table)


if __name__ == "__main__":
    main()
