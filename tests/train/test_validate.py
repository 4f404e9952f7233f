"""Errors on held-out frames, against predictions compared one by one."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from esen.graph.batch import make_graph, make_labels
from esen.graph.types import Prediction
from esen.models.potential import EsenPotential, make_potential
from esen.recipe import BatchSpec
from esen.recipe.train import LossSpec
from esen.train.batches import Batches
from esen.train.targets import training_loss
from esen.train.validate import validate
from tests.train.small import crystals, molecule, recipe_of


@pytest.fixture(scope="module")
def potential(tmp_path_factory: pytest.TempPathFactory) -> EsenPotential:
    made = make_potential(recipe_of(tmp_path_factory.mktemp("none")).model, seed=3, elements=(8, 12))
    made.set_normalisation(0.5, np.full(100, -1.0))
    return made


FRAMES = [*crystals(4), molecule(8, 12, 8)]
LOSS = LossSpec(energy=1.0, forces=2.0, stress=3.0)


def test_errors_are_those_of_all_frames_in_thousandths(potential: EsenPotential) -> None:
    errors = validate(potential.eval(), Batches(FRAMES, 3.5, BatchSpec(structures=2)), LOSS)
    energy, forces, stress = [], [], []
    for s in FRAMES:
        prediction = potential(make_graph([s], 3.5))
        energy.append(abs(float(prediction.energy[0]) - s.energy) / len(s))
        forces.append(np.abs(prediction.forces.numpy() - s.forces).ravel())
        if s.stress is not None:
            stress.append(np.abs(prediction.stress[0].numpy() - s.stress).ravel())
    assert errors["energy_mae"] == pytest.approx(1e3 * np.mean(energy), rel=1e-5)
    assert errors["forces_mae"] == pytest.approx(1e3 * np.mean(np.concatenate(forces)), rel=1e-5)
    assert errors["stress_mae"] == pytest.approx(1e3 * np.mean(stress), rel=1e-5)


@pytest.mark.parametrize("norm", ["l2", "l2_squared"])
def test_the_loss_is_that_of_training_and_does_not_depend_on_the_batches(
    norm: Literal["l2", "l2_squared"], potential: EsenPotential
) -> None:
    spec = LossSpec(energy=1.0, forces=2.0, stress=3.0, force_norm=norm)
    single, together = (
        validate(potential.eval(), Batches(FRAMES, 3.5, BatchSpec(structures=n)), spec)["loss"]
        for n in (1, 5)
    )
    graph, labels = make_graph(FRAMES, 3.5), make_labels(FRAMES)
    whole = training_loss(spec, float(potential.scale), potential(graph), labels, graph)
    assert single == pytest.approx(together, rel=1e-5)
    assert together == pytest.approx(float(whole.total), rel=1e-5)


def off_by(prediction: Prediction) -> EsenPotential:
    """A potential that always gives the same prediction."""
    spec = recipe_of(Path("none.xyz")).model
    made = make_potential(spec, seed=0)
    made.forward = lambda graph: prediction  # type: ignore[method-assign]
    return made


def test_units_and_means() -> None:
    two = replace(molecule(1, 2), energy=1.0, forces=np.zeros((2, 3)), stress=np.zeros((3, 3)))
    forces = torch.tensor([[0.3, 0, 0.4], [0, 0, 0], [0, 0, 0], [0, 0, 0.7]], dtype=torch.float64)
    stress = torch.zeros(2, 3, 3, dtype=torch.float64)
    stress[0, 0, 1] = stress[0, 1, 0] = 0.009
    energy = torch.tensor([1.2, 0.4], dtype=torch.float64)
    potential = off_by(Prediction(energy, forces, stress, torch.zeros(4, dtype=torch.float64), stress))
    errors = validate(potential, Batches([two, two], 3.5, BatchSpec(structures=2)), LOSS)
    assert errors == pytest.approx(
        {
            "loss": (0.1 + 0.3) / 2 + 2 * (0.5 + 0.7) / 4 + 3 * 2 * 0.009 / 18,
            "energy_mae": (100 + 300) / 2,  # per atom, over two structures of two atoms
            "forces_mae": (300 + 400 + 700) / 12,
            "stress_mae": 2 * 9 / 18,  # a shear counts twice among nine components
        }
    )


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_nan_is_shown_where_the_loss_asks_for_it(weight: float) -> None:
    frame = replace(molecule(1, 2), energy=0.0, forces=np.zeros((2, 3)))
    energy, zeros = torch.zeros(1, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    nan = torch.full((2, 3), torch.nan, dtype=torch.float64)
    none = torch.zeros(1, 3, 3, dtype=torch.float64)
    potential = off_by(Prediction(energy, nan, none, zeros, none))
    loss = LossSpec(energy=1.0, forces=weight, stress=0.0)
    errors = validate(potential, Batches([frame], 3.5, BatchSpec(structures=1)), loss)
    assert errors["energy_mae"] == 0.0
    assert math.isnan(errors["loss"]) == bool(weight)
    assert ("forces_mae" in errors) == bool(weight)


def test_without_a_stress_there_is_no_error_of_it(potential: EsenPotential) -> None:
    errors = validate(potential, Batches([molecule(8, 12)], 3.5, BatchSpec(atoms=10)), LOSS)
    assert set(errors) == {"loss", "energy_mae", "forces_mae"}


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_as_before(training: bool, potential: EsenPotential) -> None:
    batches = Batches(FRAMES, 3.5, BatchSpec(structures=2))
    validate(potential.train(training), batches, LOSS)
    assert potential.training is training

    def stop() -> None:
        assert not potential.training
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        validate(potential, batches, LOSS, stop)
    assert potential.training is training
