"""Compare eager and compiled steps of conservative training, in one process that alternates between both.

    python benchmarks/compile.py [--model quickstart|3|30] [--precision float32|…] [--device cpu|cuda] [--steps 9]

A step is the gradient of the loss (energy, forces, stress) of silicon crystals of several sizes. The script prints the
seconds of the first compiled step, which includes the compilation, the medians of the later steps, on one thread of a
CPU or on a GPU, and the largest difference of the gradients relative to the largest gradient.
"""

import argparse
import copy
import statistics
import sys
import time
import warnings

import torch
from measure import silicon

from esen.allocator import keep_freed_memory
from esen.data.structure import Structure
from esen.graph.batch import make_graph, make_labels
from esen.models.compiled import require_compiler
from esen.models.potential import EsenPotential, make_potential
from esen.recipe.model import ModelSpec
from esen.recipe.train import LossSpec, StageSpec, TrainSpec
from esen.train.precision import matrix_products, prepared
from esen.train.step import MicroBatch
from esen.train.targets import training_loss

SIZES = {"cpu": (2, 3), "cuda": (3, 5, 7)}
"""Numbers of cells of eight atoms along each direction."""


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=["quickstart", "3", "30"], default="quickstart")
    parser.add_argument("--precision", choices=["float32", "tf32", "bf16", "float64"], default="float32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--steps", type=int, default=9)
    return parser.parse_args()


def gradient_difference(one: EsenPotential, other: EsenPotential) -> float:
    """Return the largest difference of the gradients of two potentials, relative to the largest gradient."""
    pairs = [(a.grad, b.grad) for a, b in zip(one.parameters(), other.parameters(), strict=True)]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    return max(float((a - b).abs().max()) for a, b in known) / max(float(a.abs().max()) for a, _ in known)


def main() -> None:
    asked = options()
    warnings.simplefilter("ignore")
    keep_freed_memory()
    device = torch.device(asked.device)
    require_compiler(device)
    small = {f"{name}_channels": 32 for name in ("sphere", "hidden", "edge")}
    spec = {
        "quickstart": ModelSpec.model_validate({"cutoff": 4.0} | small),
        "3": ModelSpec(),
        "30": ModelSpec(layers=10, lmax=3),
    }[asked.model]
    train = TrainSpec(precision=asked.precision, memory="fast", stages=(StageSpec(epochs=1),))
    eager = prepared(make_potential(spec, seed=0), train).to(device).train()
    compiled = copy.deepcopy(eager).use_compilation(True)

    def batch_of(repeats: int) -> MicroBatch:
        atoms = silicon(repeats)
        frame = Structure(
            atoms.numbers.astype("int64"), atoms.positions, atoms.cell.array, atoms.pbc, energy=0.0
        )
        return MicroBatch(make_graph(frame, spec.cutoff), make_labels(frame)).to(device)

    def seconds(potential: EsenPotential, batch: MicroBatch) -> float:
        potential.zero_grad()
        start = time.perf_counter()
        prediction = potential(batch.graph)
        loss = training_loss(LossSpec(), 1.0, prediction, batch.labels, batch.graph).total
        (loss + prediction.forces.square().sum() + prediction.stress.square().sum()).backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    print(f"{asked.model}, {asked.precision}, {device}, torch {torch.__version__}")
    with matrix_products(asked.precision, device):
        seconds(eager, batch_of(2))
        print(f"first compiled step: {seconds(compiled, batch_of(2)):.0f} s")
        print(f"{'atoms':>6}{'edges':>9}{'eager, s':>11}{'compiled, s':>13}{'ratio':>8}{'gradients':>12}")
        for repeats in SIZES[asked.device]:
            batch = batch_of(repeats)
            seconds(compiled, batch)
            pairs = [(seconds(eager, batch), seconds(compiled, batch)) for _ in range(asked.steps)]
            slow, fast = (statistics.median(times) for times in zip(*pairs, strict=True))
            row = f"{batch.graph.num_atoms:6}{batch.graph.num_edges:9}{slow:11.3f}{fast:13.3f}{slow / fast:8.2f}"
            print(f"{row}{gradient_difference(eager, compiled):12.1e}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
