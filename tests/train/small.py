"""Trainings of a fraction of a second: crystals of two atoms labelled by a Morse potential, and a tiny network."""

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.stress import full_3x3_to_voigt_6_stress
from rich.console import Console

from esen.data.structure import Structure
from esen.graph.batch import make_graph
from esen.models.checkpoint import Checkpoint
from esen.recipe import Recipe
from esen.track import NullTracker, Tracker
from esen.train.data import load_training_data
from esen.train.distributed import ALONE, Processes
from esen.train.fit import fit
from esen.train.state import Progress
from esen.train.transfer import Initial
from tests.toys import morse

CELL = np.array([[2.9, 0.1, 0.0], [0.0, 3.0, 0.2], [0.1, 0.0, 3.2]])


@cache
def crystals(count: int, seed: int = 0) -> tuple[Structure, ...]:
    """Mg and O, displaced at random from the corner and the centre of a triclinic cell."""
    random, potential = np.random.default_rng(seed), morse(cutoff=3.5)
    made = []
    for index in range(count):
        positions = np.array([[0, 0, 0], [0.5, 0.5, 0.5]]) @ CELL + random.normal(0, 0.1, (2, 3))
        bare = Structure(np.array([12, 8]), positions, CELL.copy(), np.ones(3, dtype=bool))
        prediction = potential(make_graph(bare, potential.cutoff))
        made.append(
            Structure(
                bare.numbers,
                positions,
                bare.cell,
                bare.pbc,
                energy=float(prediction.energy[0]) - 3.0,
                forces=prediction.forces.numpy(),
                stress=prediction.stress[0].numpy(),
                source=f"frame {index}",
            )
        )
    return tuple(made)


def molecule(*numbers: int) -> Structure:
    """Atoms in a row, 1.9 Å apart, without a cell; energy and forces are made up."""
    count = len(numbers)
    return Structure(
        np.array(numbers),
        np.arange(count)[:, None] * np.array([[1.9, 0.0, 0.0]]),
        np.zeros((3, 3)),
        np.zeros(3, dtype=bool),
        energy=-float(count),
        forces=np.linspace(-1, 1, 3 * count).reshape(count, 3),
    )


def write_frames(path: Path, frames: Sequence[Structure], names: Mapping[str, str] | None = None) -> Path:
    """As extended XYZ; under other names than `energy`, `forces` and `stress` where given."""
    images = []
    for s in frames:
        atoms = Atoms(s.numbers, s.positions, cell=s.cell, pbc=s.pbc)
        stress = None if s.stress is None else full_3x3_to_voigt_6_stress(s.stress)
        given = {"energy": s.energy, "forces": s.forces, "stress": stress}
        values = {key: value for key, value in given.items() if value is not None}
        if names is None:
            atoms.calc = SinglePointCalculator(atoms, **values)
        else:
            for key, value in values.items():
                (atoms.arrays if key == "forces" else atoms.info)[names[key]] = value
        images.append(atoms)
    write(path, images, format="extxyz")
    return path


def recipe_of(path: Path, **changes: Any) -> Recipe:
    """A tiny recipe for the frames of a file; `train__ema=0` changes `train.ema`."""
    values: dict[str, Any] = {
        "model": {
            "cutoff": 3.5,
            "lmax": 1,
            "mmax": 1,
            "layers": 1,
            "sphere_channels": 4,
            "hidden_channels": 4,
            "edge_channels": 4,
            "radial": {"kind": "gaussian", "count": 4},
        },
        "data": {"train": [{"path": str(path)}], "validation_fraction": 0.2},
        "train": {
            "batch": {"structures": 3},
            "optimizer": {"learning_rate": 1e-2},
            "ema": 0.5,
            "stages": [{"epochs": 2}],
        },
        "tracking": {"enabled": False},
    }
    for key, value in changes.items():
        *sections, last = key.split("__")
        place = values
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return Recipe.model_validate(values)


class Recorder(NullTracker):
    """Keeps the metrics of steps and validations, and calls back when a step is done."""

    def __init__(self, at_step: int | None = None, call: Callable[[], None] | None = None) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []
        self._at_step, self._call = at_step, call

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Also on a validation's metrics there is no call."""
        self.rows.append((step, dict(values)))
        if step == self._at_step and self._call is not None and "train/loss" in values:
            self._call()


def press_ctrl_c() -> None:
    """As the terminal does."""
    os.kill(os.getpid(), signal.SIGINT)


def train(
    recipe: Recipe,
    folder: Path,
    tracker: Tracker | None = None,
    resumed: Checkpoint | None = None,
    initial: Initial | None = None,
    processes: Processes = ALONE,
) -> Progress:
    """`fit` without a terminal, on the CPU."""
    folder.mkdir(exist_ok=True)
    return fit(
        recipe,
        load_training_data(recipe, lambda _: None),
        folder,
        tracker=tracker or NullTracker(),
        device=torch.device("cpu"),
        console=Console(file=StringIO()),
        start=initial if resumed is None else resumed,
        processes=processes,
    )
