"""Forecast of a training (`esen train --dry-run`): steps, memory and time, measured by a step or two on this machine.

Nothing is written.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil
import torch

from esen.allocator import keep_freed_memory
from esen.data.frames import as_frames
from esen.md.calculator import choose_device
from esen.models.memory import is_lean, kept_per_edge
from esen.models.potential import EsenPotential
from esen.recipe import Recipe, at_stage, describe_stage
from esen.recipe.train import MemoryMode
from esen.study.train import complete_recipe, test_frames
from esen.terminal import make_console
from esen.text import duration
from esen.threads import SharedCores, thread_choice
from esen.train.batches import Batches
from esen.train.data import TrainingData, load_training_data
from esen.train.fit import new_potential
from esen.train.precision import check_steps, matrix_products
from esen.train.progress import reporter
from esen.train.step import MicroBatch, Objective
from esen.train.transfer import dtype_of, initial_potential

ForecastRow = tuple[str, object, str]
"""A quantity, its value and its unit or a remark, as they are shown."""

_CHEAP_SECONDS = 20.0
"""A step expected to take longer is not made; its time is extrapolated from that of a single structure."""
_VALIDATION_SHARE = 1 / 3
"""A prediction is a third of the passes of a training step, with direct forces and without."""
_FIRST_STEP = 40e6
"""Bytes that the first step takes once on a CPU, whatever the model, for what torch loads and sets up."""
_COPIES = 4
"""Copies of the weights: themselves, their gradient, the two moments of AdamW. An average is one more."""


@dataclass(frozen=True)
class Forecast:
    """What a training, or one stage of it, would take.

    Attributes:
        steps: Steps in all epochs.
        seconds: Time of steps and validations.
        rows: The same and more for the user.
    """

    steps: int
    seconds: float
    rows: list[ForecastRow]


def forecast_training(recipe: Recipe, *, device: str = "auto", quiet: bool = False) -> Forecast:
    """Check recipe and data as a training would, and forecast what the training would take.

    Args:
        recipe: With absolute paths.
        device: `auto`, `cpu`, `cuda`, …
        quiet: Whether no remarks are printed.

    Raises:
        InputError: What the user gave cannot be used.
    """
    keep_freed_memory()
    say, place = reporter(make_console(quiet=quiet)), torch.device(choose_device(device))
    for note in check_steps(recipe.train, place):
        say(note)
    recipe, initial = complete_recipe(recipe, None, say)
    data = load_training_data(recipe, say)
    test = test_frames(recipe, data, say)
    rows: list[ForecastRow] = [
        ("frames to train on", f"{len(data.train):,}", f"{as_frames(data.train).atoms.sum():,} atoms"),
        (
            "frames to validate",
            f"{len(data.validation):,}",
            "" if recipe.data.validation else "held out of those given",
        ),
        ("frames to test", f"{len(test):,}", ""),
        ("elements", len(data.references.elements), ""),
        ("device", str(place), thread_choice(place.type)),
    ]
    meter, steps, seconds = _MemoryMeter(place), 0, 0.0
    for stage in range(len(recipe.train.stages)):
        if initial is not None and stage == 0:
            potential = initial_potential(initial, recipe, data, say)
        else:
            potential = new_potential(at_stage(recipe, stage), data)
        forecast = forecast_stage(recipe, stage, data, potential.to(place))
        if len(recipe.train.stages) > 1:
            rows.append((describe_stage(recipe, stage), "", ""))
        rows += forecast.rows
        steps, seconds = steps + forecast.steps, seconds + forecast.seconds
    rows += [
        ("steps in all", f"{steps:,}", ""),
        ("peak of memory", meter.peak(), "measured, above the process with its data"),
        ("time in all", duration(seconds), "at the rate of these steps"),
    ]
    return Forecast(steps, seconds, rows)


def forecast_stage(recipe: Recipe, stage: int, data: TrainingData, potential: EsenPotential) -> Forecast:
    """Forecast one stage from a step or two of an untrained network; the time does not depend on the weights.

    Args:
        recipe: Recipe of the run.
        stage: Index of the stage.
        data: Frames.
        potential: Network of the stage, on its device.

    Raises:
        InputError: The largest batch does not fit in memory.
    """
    SharedCores().start()
    here = at_stage(recipe, stage)
    spec, epochs = here.train, recipe.train.stages[stage].epochs
    train = Batches(data.train, here.model.cutoff, spec.batch, here.model.graph.backend)
    batches = train.shuffled(spec.seed, 0)
    sizes = train.structures.atoms
    by_atoms = sorted(batches, key=lambda batch: int(sizes[batch].sum()))
    objective = Objective(spec.loss, None, spec.micro_batch_atoms)
    largest = objective.parts(train, by_atoms[-1])
    edges, atoms = _size(largest)
    potential.train()
    with matrix_products(spec.precision, potential.scale.device):
        seconds, how = _measure(potential, objective, train, by_atoms[len(by_atoms) // 2], largest)
    per_epoch = seconds * int(sizes.sum())
    validations = -(-epochs // spec.validate_every_epochs)
    checks = _VALIDATION_SHARE * seconds * int(as_frames(data.validation).atoms.sum()) * validations
    total = epochs * per_epoch + checks
    count = sum(p.numel() for p in potential.parameters())
    parts = "in one part" if len(largest) == 1 else f"in {len(largest)} parts"
    rows: list[ForecastRow] = [
        ("parameters", f"{count:,}", here.model.forces.kind),
        ("steps an epoch", f"{len(batches):,}", f"{epochs} epochs"),
        (
            "largest batch",
            f"{len(by_atoms[-1]):,} structures",
            f"{atoms:,} atoms, {edges / atoms:.0f} neighbours each, {parts}",
        ),
        ("memory, forecast", *_forecast_memory(here, potential, largest, count)),
        ("time of a step", duration(per_epoch / len(batches)), how + ", not compiled" * spec.compile),
        ("time of an epoch", duration(per_epoch), ""),
        ("time", duration(total), f"with {validations} validations"),
    ]
    return Forecast(epochs * len(batches), total, rows)


def _forecast_memory(
    here: Recipe, potential: EsenPotential, parts: Sequence[MicroBatch], weights: int
) -> tuple[str, str]:
    """Forecast the memory of what the edges of the largest part keep for derivatives, and of weights and optimiser."""
    dtype, device = dtype_of(potential), potential.scale.device
    edges = max(part.graph.num_edges for part in parts)
    of_edges = edges * dtype.itemsize * kept_per_edge(here.model, training=True)
    once = 0.0 if device.type == "cuda" else _FIRST_STEP
    rest = once + weights * dtype.itemsize * (_COPIES + bool(here.train.ema))
    mode: MemoryMode = "fast" if here.train.compile else here.train.memory  # compiled steps keep everything
    if is_lean(mode, here.model, edges, dtype=dtype, device=device, training=True):
        return f"{_gigabytes(rest)} and a part of {_gigabytes(of_edges)}", "weights; edges, in lean mode"
    bound = "at most, " if potential.products is not None else ""  # part of what is kept is half as large
    return _gigabytes(rest + of_edges), f"{bound}of which {_gigabytes(of_edges)} for edges"


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.2f} GB"


def _measure(
    potential: EsenPotential,
    objective: Objective,
    train: Batches,
    typical: list[int],
    largest: list[MicroBatch],
) -> tuple[float, str]:
    """Return the seconds per atom of a step, and in words how they were found.

    Args:
        potential: Potential to compute gradients of; its weights are not changed.
        objective: Objective of the stage.
        train: The frames.
        typical: Frames of a batch of median size.
        largest: The largest batch, which is computed for its memory.

    Raises:
        InputError: The largest batch does not fit in memory.
    """
    single = objective.parts(train, typical[:1])
    _seconds(potential, objective, single)  # the first step is slower than any other
    per_edge = _seconds(potential, objective, single) / max(1, single[0].graph.num_edges)
    parts = objective.parts(train, typical)
    edges, atoms = _size(parts)
    if per_edge * edges > _CHEAP_SECONDS:
        return per_edge * edges / atoms, "from that of one structure; no whole batch was tried"
    seconds = min(_seconds(potential, objective, parts) for _ in range(2)) / atoms
    if per_edge * _size(largest)[0] <= _CHEAP_SECONDS:
        _seconds(potential, objective, largest)
    return seconds, "measured on a batch of median size"


def _size(parts: list[MicroBatch]) -> tuple[int, int]:
    """Return the numbers of edges and atoms."""
    return sum(part.graph.num_edges for part in parts), sum(part.graph.num_atoms for part in parts)


def _seconds(potential: EsenPotential, objective: Objective, parts: list[MicroBatch]) -> float:
    """Return the time of the gradient of a batch."""
    start = time.perf_counter()
    objective.add_gradient(potential, parts)
    if potential.scale.is_cuda:
        torch.cuda.synchronize()
    potential.zero_grad()
    return time.perf_counter() - start


class _MemoryMeter:
    """Measures the largest memory taken at a time since it was made.

    Args:
        device: Device whose memory is measured.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before = torch.cuda.memory_allocated(device)
        else:
            self._before = psutil.Process().memory_info().rss

    def peak(self) -> str:
        """Return the memory in words."""
        if self._device.type == "cuda":
            highest = torch.cuda.max_memory_allocated(self._device)
        elif sys.platform == "win32":
            highest = int(psutil.Process().memory_info().peak_wset)
        else:
            import resource

            unit = 1 if sys.platform == "darwin" else 1024
            highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        return _gigabytes(max(0, highest - self._before))
