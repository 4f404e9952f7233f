"""What all parts share: the systems, timing on a GPU or CPU, peak memory, and rows of results."""

import argparse
import json
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from ase.build import bulk

from esen.data.atoms import from_atoms
from esen.data.structure import Structure
from esen.graph.batch import make_graph
from esen.graph.types import Graph
from esen.models.captured import CALLS_BEFORE
from esen.models.potential import EsenPotential, make_potential
from esen.recipe.model import ModelSpec

SPECS = {
    "3.2M": ModelSpec(),
    "30M": ModelSpec(layers=10, lmax=3),
    "tiny": ModelSpec(cutoff=4.0, sphere_channels=8, hidden_channels=8, edge_channels=8),
}


def options(description: str) -> argparse.Namespace:
    """Return the options that every part has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--small", action="store_true", help="tiny networks and systems, to rehearse on a CPU"
    )
    return parser.parse_args()


def silicon(atoms: int) -> Structure:
    """Return rattled silicon with 8, 64, 216, 512, 1000, … atoms."""
    crystal = bulk("Si", cubic=True).repeat(round((atoms / 8) ** (1 / 3)))
    assert len(crystal) == atoms
    crystal.rattle(0.05, seed=0)
    return replace(from_atoms(crystal, "Si"), energy=0.0)


def graph_of(atoms: int, cutoff: float, device: str) -> Graph:
    """Return the graph of `silicon` on a device."""
    return make_graph(silicon(atoms), cutoff).to(device)


def network(name: str, device: str, dtype: torch.dtype = torch.float32) -> EsenPotential:
    """Return a network with random weights for predictions."""
    return make_potential(SPECS[name], seed=0).to(device=device, dtype=dtype).eval().requires_grad_(False)


def synchronize(device: str) -> None:
    """Wait for the GPU."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def timed(call: Callable[[], object], device: str, *, budget: float = 2.0, most: int = 50) -> dict[str, Any]:
    """Return the median wall time of a call in ms, its spread, and the peak of the memory in MiB.

    Every call is waited for. There are three calls before, in the third of which a `CapturedPotential` captures, and at
    least five, or as many as fit in `budget` seconds.
    """
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    for _ in range(CALLS_BEFORE + 1):
        call()
    synchronize(device)
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < 5 or (time.perf_counter() - begun < budget and len(times) < most):
        start = time.perf_counter()
        call()
        synchronize(device)
        times.append(1000 * (time.perf_counter() - start))
    low, middle, high = statistics.quantiles(times, n=4)
    row: dict[str, Any] = {"ms": round(middle, 3), "quartiles": [round(low, 3), round(high, 3)]}
    if device.startswith("cuda"):
        row["peak_MiB"] = round(torch.cuda.max_memory_allocated() / 2**20)
    return row


def row(**values: Any) -> None:
    """Print one result as a line of JSON."""
    print(json.dumps(values), flush=True)


def attempt(what: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> None:
    """Print the result of a measurement, or why there is none, so that the next one is made in any case."""
    try:
        row(**what, **measure())
    except Exception as error:  # of any kind: the other measurements are made all the same
        traceback.print_exc(file=sys.stderr)
        row(**what, error=cause(error))
    if torch.cuda.is_initialized():
        try:
            torch.cuda.empty_cache()
        except RuntimeError:  # what follows fails, too, and says so
            traceback.print_exc(file=sys.stderr)


def cause(error: BaseException) -> str:
    """Return the first of the errors that led to this one, and where it was raised.

    The error that ends a failed capture of a CUDA graph says nothing of the operation that was refused.
    """
    while (inner := error.__cause__ or error.__context__) is not None and not error.__suppress_context__:
        error = inner
    line = str(error).strip().splitlines()[0][:200] if str(error).strip() else ""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "site-packages" not in f.filename and "dist-packages" not in f.filename]
    place = f" ({'/'.join(Path(ours[-1].filename).parts[-2:])}:{ours[-1].lineno})" if ours else ""
    return f"{type(error).__name__}: {line}{place}"
