"""`esen train --dry-run`: what a training would take, from a step or two on this machine. Nothing is written."""

import sys
import time
from dataclasses import dataclass

import psutil
import torch
from rich.console import Console

from esen.allocator import keep_freed_memory
from esen.data.frames import as_frames
from esen.md.calculator import choose_device
from esen.models.memory import is_lean, kept_per_edge
from esen.models.potential import EsenPotential
from esen.recipe import Recipe, at_stage, describe_stage
from esen.recipe.train import MemoryMode
from esen.study.experiment import duration, test_frames
from esen.study.finetune import complete_recipe
from esen.train.carry import dtype_of
from esen.train.dataset import Batches, TrainingData, load_training_data
from esen.train.fit import new_potential
from esen.train.initial import initial_potential
from esen.train.precision import check_steps, matrix_products
from esen.train.step import Objective, Part

Row = tuple[str, object, str]

_CHEAP_SECONDS = 20.0
"""A step that is expected to take longer is not made; its time follows from that of a single structure."""
_VALIDATION_SHARE = 1 / 3
"""A prediction is a third of the passes of a training step, with direct forces and without."""
_FIRST_STEP = 40e6
"""Bytes that a process takes once on a CPU, whatever the model: what torch loads and sets up in the first step."""
_COPIES = 4
"""Of the weights: themselves, their gradient, the two moments of AdamW; and one more where there is an average."""


@dataclass(frozen=True)
class StageForecast:
    """What one stage would take.

    Attributes:
        steps: in all its epochs.
        seconds: of steps and validations.
        rows: for the user.
    """

    steps: int
    seconds: float
    rows: list[Row]


def run_dry(recipe: Recipe, *, device: str = "auto") -> list[Row]:
    """Check recipe and data as a training would, and say what it would take.

    Args:
        recipe: with absolute paths.
        device: `auto`, `cpu`, `cuda`, …

    Raises:
        InputError: what the user gave cannot be used.
    """
    keep_freed_memory()
    console = Console(stderr=True)
    place = torch.device(choose_device(device))

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    for note in check_steps(recipe.train, place):
        say(note)
    recipe, initial = complete_recipe(recipe, None, say)
    data = load_training_data(recipe, say)
    test = test_frames(recipe, data, say)
    rows: list[Row] = [
        ("frames to train on", f"{len(data.train):,}", f"{as_frames(data.train).atoms.sum():,} atoms"),
        ("frames to validate", f"{len(data.validation):,}", ""),
        ("frames to test", f"{len(test):,}", ""),
        ("elements", len(data.references.elements), ""),
        ("device", str(place), f"{torch.get_num_threads()} threads"),
    ]
    forecasts, meter = [], _Meter(place)
    for stage in range(len(recipe.train.stages)):
        here = at_stage(recipe, stage)
        if initial is not None and stage == 0:
            potential = initial_potential(initial, recipe, data, say)
        else:
            potential = new_potential(here, data)
        forecasts.append(forecast_stage(recipe, stage, data, potential.to(place)))
        if len(recipe.train.stages) > 1:
            rows.append((describe_stage(recipe, stage), "", ""))
        rows += forecasts[-1].rows
    seconds = sum(forecast.seconds for forecast in forecasts)
    rows.append(("steps in all", f"{sum(forecast.steps for forecast in forecasts):,}", ""))
    rows.append(("peak of memory", meter.peak(), "measured, above the process with its data"))
    return [*rows, ("time in all", duration(seconds), "at the rate of these steps")]


def forecast_stage(recipe: Recipe, stage: int, data: TrainingData, potential: EsenPotential) -> StageForecast:
    """Forecast one stage from a step or two of an untrained network; the time does not depend on the weights.

    Args:
        recipe: of the run.
        stage: its index.
        data: the frames.
        potential: the network of the stage, on its device.

    Raises:
        InputError: the largest batch does not fit in memory.
    """
    here = at_stage(recipe, stage)
    spec, epochs = here.train, recipe.train.stages[stage].epochs
    train = Batches(data.train, here.model.cutoff, spec.batch, here.model.graph.backend)
    batches = train.shuffled(spec.seed, 0)
    sizes, to_check = train.structures.atoms, as_frames(data.validation).atoms
    by_atoms = sorted(batches, key=lambda batch: int(sizes[batch].sum()))
    objective = Objective(spec.loss, None, spec.micro_batch_atoms)
    largest = objective.parts(train, by_atoms[-1])
    edges = max(part.graph.num_edges for part in largest)
    atoms = sum(part.graph.num_atoms for part in largest)
    potential.train()
    with matrix_products(spec.precision, potential.scale.device):
        seconds, how = _measure(potential, objective, train, (by_atoms[len(by_atoms) // 2], largest))
    if spec.compile:
        how += ", not compiled"
    per_epoch = seconds * int(sizes.sum())
    validations = -(-epochs // spec.validate_every_epochs)
    checks = _VALIDATION_SHARE * seconds * int(to_check.sum()) * validations
    total = epochs * per_epoch + checks
    count = sum(p.numel() for p in potential.parameters())
    rows: list[Row] = [
        ("parameters", f"{count:,}", here.model.forces.kind),
        ("steps an epoch", f"{len(batches):,}", f"{epochs} epochs"),
        (
            "largest batch",
            f"{len(by_atoms[-1]):,} structures",
            f"{atoms:,} atoms, {sum(part.graph.num_edges for part in largest):,} edges, {_parts(largest)}",
        ),
        ("memory, forecast", *_forecast_memory(here, potential, edges, count)),
        ("time of a step", duration(per_epoch / len(batches)), how),
        ("time of an epoch", duration(per_epoch), ""),
        ("time", duration(total), f"with {validations} validations"),
    ]
    return StageForecast(epochs * len(batches), total, rows)


def _parts(parts: list[Part]) -> str:
    return "in one part" if len(parts) == 1 else f"in {len(parts)} parts"


def _forecast_memory(here: Recipe, potential: EsenPotential, edges: int, weights: int) -> tuple[str, str]:
    """What the edges of the largest part leave to be differentiated, and the weights with all that goes with them."""
    dtype, device = dtype_of(potential), potential.scale.device
    of_edges = edges * dtype.itemsize * kept_per_edge(here.model, training=True)
    once = 0.0 if device.type == "cuda" else _FIRST_STEP
    rest = once + weights * dtype.itemsize * (_COPIES + bool(here.train.ema))
    mode: MemoryMode = (
        "fast" if here.train.compile else here.train.memory
    )  # what is compiled keeps everything
    if is_lean(mode, here.model, edges, dtype=dtype, device=device, training=True):
        return f"{_gigabytes(rest)} and a part of {_gigabytes(of_edges)}", "weights; edges, in lean mode"
    bound = "at most, " if potential.products is not None else ""  # part of what is kept is half as large
    return _gigabytes(rest + of_edges), f"{bound}of which {_gigabytes(of_edges)} for edges"


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.2f} GB"


def _measure(
    potential: EsenPotential, objective: Objective, train: Batches, batches: tuple[list[int], list[Part]]
) -> tuple[float, str]:
    """Seconds an atom, and in words how they were found.

    Args:
        potential: to step with; its weights are not changed.
        objective: of the stage.
        train: the frames.
        batches: indices of a typical one, and the parts of the largest, which is done for its memory.

    Raises:
        InputError: the largest does not fit in memory.
    """
    typical, largest = objective.parts(train, batches[0]), batches[1]
    single = objective.parts(train, batches[0][:1])
    _seconds(potential, objective, single)  # the first step is slower than any other
    per_edge = _seconds(potential, objective, single) / max(1, single[0].graph.num_edges)
    edges, atoms = _size(typical)
    if per_edge * edges > _CHEAP_SECONDS:
        return per_edge * edges / atoms, "from that of one structure; no whole batch was tried"
    seconds = min(_seconds(potential, objective, typical) for _ in range(2)) / atoms
    if per_edge * _size(largest)[0] <= _CHEAP_SECONDS:
        _seconds(potential, objective, largest)
    return seconds, "measured on a batch of median size"


def _size(parts: list[Part]) -> tuple[int, int]:
    """Edges and atoms."""
    return sum(part.graph.num_edges for part in parts), sum(part.graph.num_atoms for part in parts)


def _seconds(potential: EsenPotential, objective: Objective, parts: list[Part]) -> float:
    """Of the gradient of a batch."""
    start = time.perf_counter()
    objective.add_gradient(potential, parts)
    if potential.scale.is_cuda:
        torch.cuda.synchronize()
    potential.zero_grad()
    return time.perf_counter() - start


def _highest() -> int:
    """The most memory that this process ever had, in bytes."""
    try:
        import resource
    except ImportError:  # Windows
        return int(psutil.Process().memory_info().peak_wset)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class _Meter:
    """The most memory that was taken at a time since it was made.

    Args:
        device: whose memory it is.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before = torch.cuda.memory_allocated(device)
        else:
            self._before = psutil.Process().memory_info().rss

    def peak(self) -> str:
        """In words."""
        highest = torch.cuda.max_memory_allocated(self._device) if self._device.type == "cuda" else _highest()
        return _gigabytes(max(0, highest - self._before))
