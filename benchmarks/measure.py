"""What every program of a comparison does alike: the crystal, the clock, the memory, and the machine's own limit."""

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402  # threads are counted on import
import torch  # noqa: E402  # the same

torch.set_num_threads(1)


def silicon(repeats: int = 3) -> Any:
    """216 atoms of silicon (64 if repeated twice), rattled by 0.05 Å, for ASE."""
    from ase.build import bulk

    atoms = bulk("Si", cubic=True).repeat(repeats)
    atoms.rattle(0.05, seed=0)
    return atoms


def gemm_rate(size: int = 1024, repeats: int = 12) -> float:
    """FLOP a CPU second of a float32 matrix product, one thread: what nothing here can exceed."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        a @ b
        seconds.append(time.process_time() - start)
    return 2 * size**3 / statistics.median(seconds)


def report(predict: Callable[[], tuple[float, np.ndarray]], calls: int) -> None:
    """Call `predict` (energy in eV, forces in eV/Å) and print, as one line of JSON, times, memory, and results.

    Memory is the largest resident size reached, above that before the first call.
    """
    before = _resident()
    seconds = []
    for _ in range(calls):
        start = time.process_time()
        energy, forces = predict()
        seconds.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    result = {
        "seconds": seconds,
        "peak": peak,
        "gemm": gemm_rate(),
        "energy": energy,
        "forces": np.asarray(forces, dtype=np.float64).tolist(),
        "torch": torch.__version__,
    }
    sys.stdout.write(json.dumps(result) + "\n")


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
