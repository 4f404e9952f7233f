"""The declaration of energy, forces and stress, and the types that have a field for each."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from esen.data.frames import Facts
from esen.data.structure import Structure
from esen.data.targets import ENERGY, FORCES, STRESS, TARGETS
from esen.graph.batch import make_labels
from esen.graph.types import Labels, Prediction
from esen.recipe import LossSpec
from tests.train.small import crystals, molecule


def test_every_type_with_targets_has_a_field_for_each() -> None:
    names = {target.name for target in TARGETS}
    assert {field.name for field in fields(Labels)} == names
    for kind in (Structure, Prediction):
        assert names <= {field.name for field in fields(kind)}
    assert names == set(LossSpec.model_fields) - {"kind", "huber_delta", "force_norm"}


def test_labels_have_the_declared_shapes() -> None:
    frame = molecule(8, 12, 8)
    for target in TARGETS:
        label = target.of(replace(frame, stress=np.zeros((3, 3))))
        assert np.shape(label) == target.shape(3)
        batch = target.of(make_labels([frame, frame]))
        assert tuple(batch.shape) == (6 if target.of_atoms else 2, *target.components)


def test_only_the_energy_is_compared_per_atom() -> None:
    atoms = torch.tensor([2, 4])
    assert ENERGY.error(torch.tensor([6.0, -4.0]), torch.tensor([2.0, 0.0]), atoms).tolist() == [2.0, -1.0]
    assert FORCES.error(np.array([[3.0, 0, 1]]), np.array([[1.0, 0, 0]]), atoms).tolist() == [[2.0, 0, 1]]
    assert STRESS.error(np.eye(3), np.zeros((3, 3)), atoms).tolist() == np.eye(3).tolist()


def test_missing_labels_are_known_as_such() -> None:
    frames = [
        replace(crystals(1)[0], energy=None, stress=None),
        replace(crystals(1)[0], forces=None),
        molecule(8, 12, 8),
    ]
    labels, facts = make_labels(frames), Facts.of(frames)
    assert labels.known(ENERGY).tolist() == facts.has(ENERGY).tolist() == [False, True, True]
    assert labels.known(FORCES).tolist() == [True] * 2 + [False] * 2 + [True] * 3
    assert facts.has(FORCES).tolist() == [True, False, True]
    assert labels.known(STRESS).tolist() == facts.has(STRESS).tolist() == [False, True, False]
    for target in TARGETS:
        assert facts.label_count(target) == int(labels.known(target).sum())
    labels.forces[0, 1] = torch.nan  # a vector is known as a whole or not at all
    assert labels.known(FORCES).tolist()[:2] == [False, True]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_errors_are_in_thousandths(target) -> None:
    assert target.error_unit == f"m{target.unit}" + ("/atom" if target.error_per_atom else "")
