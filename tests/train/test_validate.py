"""Errors on held-out frames, against predictions compared one by one."""

from typing import Literal

import numpy as np
import pytest

from esen.graph.batch import make_graph, make_labels
from esen.models.potential import EsenPotential, make_potential
from esen.recipe import BatchSpec
from esen.recipe.train import LossSpec
from esen.train.dataset import Batches
from esen.train.loss import training_loss
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
