from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esen.data.structure import Structure
from esen.graph.batch import make_graph, make_labels
from esen.graph.errors import ErrorSums
from esen.graph.types import Graph, Labels, Prediction
from tests.strategies import structures

NAN = float("nan")


def one_atom(**labels):
    return Structure(np.array([2]), np.zeros((1, 3)), np.eye(3), np.ones(3, dtype=bool), **labels)


def off_by(labels: Labels, graph: Graph, energy, forces, stress) -> Prediction:
    return Prediction(
        energy=labels.energy.nan_to_num() + energy,
        forces=labels.forces.nan_to_num() + forces,
        stress=labels.stress.nan_to_num() + stress,
        energies=torch.zeros(graph.num_atoms, dtype=torch.float64),
    )


def test_units_and_means():
    two = Structure(
        np.array([1, 2]), np.zeros((2, 3)), np.eye(3), np.ones(3, dtype=bool),
        energy=1.0, forces=np.zeros((2, 3)), stress=np.zeros((3, 3)),
    )  # fmt: skip
    graph, labels = make_graph([two, two], 0.5), make_labels([two, two])
    forces = torch.tensor([[0.3, 0, 0.4], [0, 0, 0], [0, 0, 0], [0, 0, 0.7]], dtype=torch.float64)
    stress = torch.zeros(2, 3, 3, dtype=torch.float64)
    stress[0, 0, 1] = stress[0, 1, 0] = 0.009
    sums = ErrorSums()
    sums.add(off_by(labels, graph, torch.tensor([0.2, -0.6]).double(), forces, stress), labels, graph)
    assert asdict(sums.errors()) == pytest.approx(
        {
            "energy_mae": (100 + 300) / 2,  # per atom, over two structures of two atoms
            "energy_rmse": ((100**2 + 300**2) / 2) ** 0.5,
            "forces_mae": (300 + 400 + 700) / 12,
            "forces_rmse": ((300**2 + 400**2 + 700**2) / 12) ** 0.5,
            "forces_l2": (500 + 700) / 4,
            "stress_mae": 2 * 9 / 18,  # a shear counts twice among nine components
            "stress_rmse": (2 * 9**2 / 18) ** 0.5,
        },
        rel=1e-6,
    )


@given(st.lists(structures(labels=True), min_size=1, max_size=4), st.integers(0, 2**32))
def test_batches_do_not_matter(drawn, seed):
    generator = torch.Generator().manual_seed(seed)
    whole, parts = ErrorSums(), ErrorSums()
    graph, labels = make_graph(drawn, 2.0), make_labels(drawn)
    noise = [
        torch.randn(len(drawn), generator=generator, dtype=torch.float64),
        torch.randn(graph.num_atoms, 3, generator=generator, dtype=torch.float64),
        torch.randn(len(drawn), 3, 3, generator=generator, dtype=torch.float64),
    ]
    whole.add(off_by(labels, graph, *noise), labels, graph)
    for index, structure in enumerate(drawn):
        single, label = make_graph(structure, 2.0), make_labels(structure)
        atoms = graph.structure == index
        one = off_by(label, single, noise[0][index], noise[1][atoms], noise[2][index])
        parts.add(one, label, single)
    for name, value in asdict(parts.errors()).items():
        assert getattr(whole.errors(), name) == (None if value is None else pytest.approx(value, rel=1e-9))


def test_missing_labels_are_left_out():
    both = [one_atom(energy=1.0, forces=np.zeros((1, 3))), one_atom()]
    graph, labels = make_graph(both, 0.5), make_labels(both)
    sums = ErrorSums()
    sums.add(off_by(labels, graph, 0.002, 0.001, 5.0), labels, graph)
    errors = sums.errors()
    assert errors.energy_mae == pytest.approx(2.0)
    assert errors.forces_mae == pytest.approx(1.0)
    assert errors.forces_l2 == pytest.approx(3**0.5)
    assert errors.stress_mae is None
    assert errors.stress_rmse is None


def test_nothing_added_gives_nothing():
    assert set(asdict(ErrorSums().errors()).values()) == {None}


def test_a_predicted_nan_is_not_hidden():
    labelled = one_atom(energy=1.0, forces=np.zeros((1, 3)), stress=np.zeros((3, 3)))
    graph, labels = make_graph(labelled, 0.5), make_labels(labelled)
    sums = ErrorSums()
    sums.add(
        replace(off_by(labels, graph, 0.0, 0.0, 0.0), energy=torch.tensor([NAN]).double()), labels, graph
    )
    assert np.isnan(sums.errors().energy_mae)
    assert sums.errors().forces_mae == 0.0


def test_sums_hold_no_autograd_graph():
    labelled = one_atom(energy=1.0, forces=np.zeros((1, 3)), stress=np.zeros((3, 3)))
    graph, labels = make_graph(labelled, 0.5), make_labels(labelled)
    prediction = off_by(labels, graph, torch.tensor([0.001]).double().requires_grad_(), 0.0, 0.0)
    sums = ErrorSums()
    sums.add(prediction, labels, graph)
    assert sums.errors().energy_mae == pytest.approx(1.0)


def test_forces_of_some_atoms():
    sums = ErrorSums()
    sums.add_forces(torch.full((2, 3), 0.001).double(), torch.zeros(2, 3).double())
    assert sums.errors().forces_mae == pytest.approx(1.0)
    assert sums.errors().energy_mae is None
