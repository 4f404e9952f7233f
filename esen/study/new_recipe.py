"""`esen recipe new`: a recipe of the right size for the user's frames, with a forecast of its time on this machine."""

import math
import os
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from ase.data import chemical_symbols

from esen.data.frames import Mixture, as_frames
from esen.data.readers.formats import ESENDATA, FORMATS, find_files
from esen.data.readers.labels import energy_candidates, forces_candidates, stress_candidates
from esen.data.targets import TARGETS
from esen.data.training_set import MappedFrames
from esen.errors import InputError
from esen.files import write_atomically
from esen.graph.batch import make_graphs
from esen.graph.edges import edge_vectors
from esen.md.calculator import choose_device
from esen.recipe import Recipe, load_recipe, resolve_paths
from esen.recipe.document import write_document
from esen.study.forecast import Forecast, ForecastRow, forecast_stage
from esen.text import duration
from esen.train.data import TrainingData, load_training_data
from esen.train.fit import new_potential

SizeName = Literal["small", "medium", "large"]


@dataclass(frozen=True)
class _Size:
    """A network, and the data that it suits.

    Attributes:
        lmax: highest degree.
        layers: number of blocks.
        channels: sphere, hidden and edge channels.
        neighbours: edges per atom that the cutoff should give.
        most_atoms: atoms in all training frames up to which this size is chosen.
    """

    lmax: int
    layers: int
    channels: int
    neighbours: int
    most_atoms: float


_SIZES: dict[SizeName, _Size] = {
    "small": _Size(lmax=2, layers=2, channels=32, neighbours=24, most_atoms=50_000),
    "medium": _Size(lmax=2, layers=2, channels=64, neighbours=32, most_atoms=1_000_000),
    "large": _Size(lmax=3, layers=3, channels=128, neighbours=48, most_atoms=math.inf),
}
_CUTOFFS = (4.0, 4.5, 5.0, 5.5, 6.0)
"""Candidates in Å."""
_ENOUGH = 0.8
"""A cutoff also suffices if it keeps this share of the neighbours within the longest one."""
_SAMPLE = 16
"""Frames on which neighbours and stresses are measured."""
_STEPS_PER_EPOCH = 200
"""Batches are reduced until an epoch has this many steps: with few frames, more steps beat larger batches."""
_BATCH_ATOMS = 1000
"""The largest batch. A frame with more atoms than a batch is a batch of its own."""
_STEPS, _FEWEST_STEPS = 3000, 1000
"""Steps for 10,000 atoms, near the quickstart recipe's, and the fewest. They grow with the square root of the atoms."""


@dataclass(frozen=True, eq=False)
class _Plan:
    """The values of the recipe and of its comments.

    Attributes:
        sources: entries of `data.train`, as YAML.
        labels: the targets that all frames have.
        size: name of the network's size.
        cutoff: in Å.
        neighbours: edges per atom within the cutoff.
        batch_atoms: most atoms of a batch.
        stress_weight: weight of the stress in the loss.
        epochs: passes over the frames.
        ema: decay of the moving average of the weights per step.
        frames: the frames in words.
        steps: the steps in words.
        time: the forecast in words.
    """

    sources: str
    labels: list[str]
    size: SizeName = "small"
    cutoff: float = 6.0
    neighbours: float = 0.0
    batch_atoms: int = 1
    stress_weight: float = 5.0
    epochs: int = 1
    ema: float = 0.99
    frames: str = ""
    steps: str = ""
    time: str = ""


def write_new_recipe(
    paths: Sequence[str],
    output: Path,
    say: Callable[[str], None],
    *,
    size: SizeName | None = None,
    cutoff: float | None = None,
    hours: float = 1.0,
    device: str = "auto",
) -> list[ForecastRow]:
    """Write a recipe that suits the frames, and return what was chosen as rows of a table.

    The time per step is measured with the real network. The number of epochs follows from the number of atoms, and is
    reduced until the forecast is within `hours`.

    Args:
        paths: files, folders or glob patterns of frames with labels.
        output: the recipe's file, which must not exist.
        say: takes one line for the user.
        size: of the network; None: by the number of atoms in all frames.
        cutoff: in Å; None: by the number of neighbours.
        hours: time that the training may take on this machine.
        device: `auto`, `cpu` or `cuda`.

    Raises:
        InputError: the file exists, or the frames cannot be trained on.
    """
    if output.exists():
        raise InputError(f"{output}: this file exists; remove it, or give another one with --output")
    plan = _read_labels(paths, output.parent)
    data = load_training_data(_recipe(plan, output), say)
    plan = _choose(plan, data, size, cutoff)
    recipe = _recipe(plan, output)
    place = torch.device(choose_device(device))
    potential = new_potential(recipe, data).to(place)
    forecast = forecast_stage(recipe, 0, data, potential)
    where = f"on this machine ({place}, {torch.get_num_threads()} threads)"
    plan, suitable = _plan_time(plan, data, forecast, hours, where)
    write_atomically(output, _text(plan))
    load_recipe(output)
    if forecast.seconds > 3600 * hours:
        say(
            f"note: one epoch takes {duration(forecast.seconds)}, more than --hours {hours:g};"
            " give a smaller --size, fewer frames, more hours or a GPU"
        )
    count = sum(weights.numel() for weights in potential.parameters())
    return [
        ("frames", plan.frames, f"{len(data.validation):,} of them held out for validation"),
        ("labels", ", ".join(plan.labels), ""),
        ("network", plan.size, f"{count:,} parameters"),
        ("cutoff", f"{plan.cutoff:g} Å", f"{plan.neighbours:.0f} neighbours per atom"),
        ("batch", f"{plan.batch_atoms:,} atoms", f"{forecast.steps:,} steps per epoch"),
        ("epochs", f"{plan.epochs:,}", f"{suitable:,} would suit this many atoms"),
        ("time", plan.time, f"{where}, for {plan.steps}"),
    ]


def _read_labels(paths: Sequence[str], folder: Path) -> _Plan:
    """Find the names of the labels in the first frame of each source."""
    entries, found = [], []
    for path in paths:
        keys = _label_keys(path)
        shown = path if Path(path).expanduser().is_absolute() else os.path.relpath(path, folder)
        own = {f"{name}_key": key for name, key in keys.items() if key != name}
        if "virial" in keys.get("stress", "").lower():
            own["stress_convention"] = "virial"
        entries.append({"path": shown} | own)
        found.append(keys)
    labels = [target.name for target in TARGETS if all(target.name in keys for keys in found)]
    if not {"energy", "forces"} & set(labels):
        raise InputError(f"{paths[0]}: expected frames with energies or forces, but not all files have them")
    return _Plan(write_document(entries), labels)


def _label_keys(path: str) -> dict[str, str]:
    """The names under which the first frame of a source holds its labels; those of the format where they are usual."""
    file, kind = find_files(path, Path())[0]
    if kind == ESENDATA:
        structure = MappedFrames(file)[0]
        return {target.name: target.name for target in TARGETS if target.of(structure) is not None}
    raw = next(FORMATS[kind].frames(file), None)
    if raw is None:
        raise InputError(f"{file}: expected frames to train on, but there are none")
    frame = raw.structure()
    candidates = {
        "energy": energy_candidates(frame),
        "forces": forces_candidates(frame),
        "stress": stress_candidates(frame) if frame.pbc.all() else [],
    }
    return {name: name if name in keys else keys[0] for name, keys in candidates.items() if keys}


def _choose(plan: _Plan, data: TrainingData, size: SizeName | None, cutoff: float | None) -> _Plan:
    """Choose the network by the number of atoms, the cutoff by the neighbours, and the batch by both."""
    frames = Mixture([as_frames(data.train), as_frames(data.validation)])
    atoms = int(frames.atoms.sum())
    fitting = [name for name, one in _SIZES.items() if atoms <= one.most_atoms]
    chosen = fitting[0] if size is None else size
    sample = [frames[int(i)] for i in np.linspace(0, len(frames) - 1, min(len(frames), _SAMPLE))]
    distances = torch.cat([edge_vectors(g).norm(dim=1) for g in make_graphs(sample, max(_CUTOFFS))])
    if not len(distances):
        raise InputError(
            f"{frames[0].source}: no two atoms are closer than {max(_CUTOFFS):g} Å, so that there is nothing to learn"
        )

    def neighbours(radius: float) -> float:
        return int((distances <= radius).sum()) / sum(map(len, sample))

    if cutoff is not None and neighbours(cutoff) < 1:
        raise InputError(
            f"--cutoff {cutoff:g}: atoms have {neighbours(cutoff):.2g} neighbours within it; give more"
        )
    enough = min(_SIZES[chosen].neighbours, _ENOUGH * neighbours(max(_CUTOFFS)))
    cutoff = cutoff or next(radius for radius in _CUTOFFS if neighbours(radius) >= enough)
    stresses = [s.stress for s in sample if s.stress is not None]
    stress = float(np.sqrt(np.mean(np.square(stresses)))) if stresses else 0.0
    ratio = data.scale / stress if stress else 1.0
    symbols = [chemical_symbols[z] for z in frames.facts.elements_seen()]
    elements = ", ".join(symbols) if len(symbols) <= 12 else f"{len(symbols)} elements"
    return replace(
        plan,
        size=chosen,
        cutoff=cutoff,
        neighbours=neighbours(cutoff),
        batch_atoms=max(int(np.median(frames.atoms)), min(atoms // _STEPS_PER_EPOCH, _BATCH_ATOMS)),
        stress_weight=float(f"{min(max(4 * ratio, 5.0), 300.0):.1g}"),
        frames=f"{len(frames):,} frames with {atoms:,} atoms of {elements}",
    )


def _plan_time(
    plan: _Plan, data: TrainingData, forecast: Forecast, hours: float, where: str
) -> tuple[_Plan, int]:
    """The plan with the epochs that the time allows, and the number that would suit the atoms.

    Args:
        plan: with everything else.
        data: the frames.
        forecast: of one epoch.
        hours: time that the training may take.
        where: the machine, in words.
    """
    atoms = int(as_frames(data.train).atoms.sum())
    wanted = max(_FEWEST_STEPS, _STEPS * math.sqrt(atoms / 10_000))
    suitable = max(1, round(wanted / forecast.steps))
    epochs = max(1, min(suitable, int(3600 * hours / forecast.seconds)))
    steps = f"{epochs * forecast.steps:,} steps of {duration(forecast.seconds / forecast.steps)}"
    ema = 0.99 if epochs * forecast.steps < 20_000 else 0.999
    return replace(
        plan, epochs=epochs, ema=ema, steps=steps, time=duration(epochs * forecast.seconds)
    ), suitable


def _recipe(plan: _Plan, output: Path) -> Recipe:
    return resolve_paths(load_recipe(output, text=_text(plan)), output.parent)


def _text(plan: _Plan) -> str:
    size = _SIZES[plan.size]
    others = ", ".join(
        f"{name} has {one.channels} channels" for name, one in _SIZES.items() if name != plan.size
    )
    there = {target.name: target.name in plan.labels for target in TARGETS}
    references = "" if there["energy"] else "  references: none # there are no energies to fit them to\n"
    return f"""\
# {plan.frames}: about {plan.time}
model:
  cutoff: {plan.cutoff:g} # Å; about {plan.neighbours:.0f} neighbours per atom
  lmax: {size.lmax} # highest degree of the spherical harmonics
  layers: {size.layers}
  sphere_channels: {size.channels} # {plan.size}; {others}
  hidden_channels: {size.channels}
  edge_channels: {size.channels}

data: # paths start at the folder of this file; test: takes further frames, for the errors after training
  train:
{textwrap.indent(plan.sources, "    ")}\
  validation_fraction: 0.05 # of the frames; they are held out and choose the best weights
{references}\

train:
  batch: {{atoms: {plan.batch_atoms}}} # at most, in one step
  optimizer:
    learning_rate: {0.16 / size.channels:g} # in inverse proportion to the channels
  loss: # weights of the errors, dimensionless; 0: the frames have no such label
    energy: {20 * there["energy"]}
    forces: {20 * there["forces"]}
    stress: {plan.stress_weight * there["stress"]:g} # balances the size of stresses (eV/Å³) and forces (eV/Å)
  ema: {plan.ema} # decay per step of the moving average of the weights
  stages:
    - epochs: {plan.epochs} # {plan.steps}, about {plan.time} on the machine that wrote this file
"""
