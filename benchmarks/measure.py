"""Shared parts of the benchmarks: the crystal, the measurement of time and memory, and the rate of matrix products."""

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

import numpy as np  # noqa: E402  # the number of threads is read on import
import torch  # noqa: E402  # as above

torch.set_num_threads(1)


def silicon(repeats: int = 3) -> Any:
    """Return 216 atoms of silicon as ASE atoms (64 if repeated twice), rattled by 0.05 Å."""
    from ase.build import bulk

    atoms = bulk("Si", cubic=True).repeat(repeats)
    atoms.rattle(0.05, seed=0)
    return atoms


def gemm_rate(size: int = 1024, repeats: int = 12) -> float:
    """Return the FLOP per CPU second of a float32 matrix product on one thread, an upper limit for all programs."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        a @ b
        seconds.append(time.process_time() - start)
    return 2 * size**3 / statistics.median(seconds)


def report(predict: Callable[[], tuple[float, np.ndarray]], calls: int) -> None:
    """Call `predict` (energy in eV, forces in eV/Å) and print times, memory and results as one line of JSON.

    The memory is the peak resident size minus the resident size before the first call.
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
