"""The loss against numbers worked out by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esen.data.structure import Structure
from esen.data.targets import ENERGY
from esen.graph.batch import make_graph, make_labels
from esen.graph.types import Graph, Labels, Prediction
from esen.models.potential import make_potential
from esen.recipe import ModelSpec
from esen.recipe.train import LossSpec
from esen.train.targets import ERROR_SIZES, training_loss

NAN = float("nan")


def graph(*atoms: int) -> Graph:
    """Structures of so many atoms, without edges."""
    count, structures = sum(atoms), len(atoms)
    none = torch.zeros(0, dtype=torch.int64)
    return Graph(
        numbers=torch.ones(count, dtype=torch.int64),
        positions=torch.zeros(count, 3, dtype=torch.float64),
        cell=torch.zeros(structures, 3, 3, dtype=torch.float64),
        pbc=torch.ones(structures, 3, dtype=torch.bool),
        structure=torch.repeat_interleave(torch.arange(structures), torch.tensor(atoms)),
        sender=none,
        receiver=none,
        shift=torch.zeros(0, 3, dtype=torch.float64),
    )


def zeros(of: Graph) -> Labels:
    return Labels(
        energy=torch.zeros(of.num_structures, dtype=torch.float64),
        forces=torch.zeros(of.num_atoms, 3, dtype=torch.float64),
        stress=torch.zeros(of.num_structures, 3, 3, dtype=torch.float64),
    )


# A structure of two atoms and one of one. All errors are against zero.
BATCH = graph(2, 1)
PREDICTION = Prediction(
    energy=torch.tensor([6.0, -4.0], dtype=torch.float64),  # per atom: 3, 4
    forces=torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, -1.0], [2.0, 2.0, -1.0]], dtype=torch.float64),
    stress=torch.stack([torch.full((3, 3), 0.9), torch.full((3, 3), -0.3)]).double(),
    energies=torch.tensor([3.0, 3.0, -4.0], dtype=torch.float64),
    virial=torch.zeros(2, 3, 3, dtype=torch.float64),
)
SPEC = LossSpec(energy=2.0, forces=10.0, stress=100.0)


@pytest.mark.parametrize(
    ("norm", "forces"),
    [
        ("l2", (5 + 1 + 3) / 3),  # mean length
        ("l2_squared", (25 + 1 + 9) / 9),  # mean square of a component
    ],
)
def test_the_three_terms(norm: str, forces: float) -> None:
    terms = training_loss(SPEC.model_copy(update={"force_norm": norm}), 1.0, PREDICTION, zeros(BATCH), BATCH)
    assert terms.named()["energy"] == pytest.approx((3 + 4) / 2)
    assert terms.named()["forces"] == pytest.approx(forces)
    assert terms.named()["stress"] == pytest.approx((0.9 + 0.3) / 2)
    assert float(terms.total) == pytest.approx(2 * 3.5 + 10 * forces + 100 * 0.6)


@pytest.mark.parametrize(
    ("kind", "energy", "forces", "stress"),
    [
        ("squared", (9 + 16) / 2, (25 + 1 + 9) / 3, (0.81 + 0.09) / 2),
        # δ = 2: sizes 3, 4 | 5, 1, 3 | 0.9, 0.3
        ("huber", (2 + 3) / 2, (4 + 0.25 + 2) / 3, (0.81 + 0.09) / 4 / 2),
    ],
)
def test_other_sizes_of_errors(kind: str, energy: float, forces: float, stress: float) -> None:
    spec = LossSpec.model_validate(SPEC.model_dump() | {"kind": kind, "huber_delta": 2.0})
    terms = training_loss(spec, 1.0, PREDICTION, zeros(BATCH), BATCH)
    assert terms.named()["energy"] == pytest.approx(energy)
    assert terms.named()["forces"] == pytest.approx(forces)
    assert terms.named()["stress"] == pytest.approx(stress)
    assert float(terms.total) == pytest.approx(2 * energy + 10 * forces + 100 * stress)


@given(error=st.floats(-10, 10), delta=st.floats(1e-3, 3))
def test_huber_is_continuous_with_its_slope(error: float, delta: float) -> None:
    spec = LossSpec(kind="huber", huber_delta=delta)
    x = torch.tensor([error, delta * (1 - 1e-9), delta * (1 + 1e-9)], dtype=torch.float64, requires_grad=True)
    size = ERROR_SIZES[ENERGY](x, spec)
    (slope,) = torch.autograd.grad(size.sum(), x)
    assert abs(float((size[2] - size[1]).detach())) < 1e-8 * delta
    assert float(slope[1]) == pytest.approx(float(slope[2]), abs=1e-6)
    assert float(slope[0]) == pytest.approx(max(-1.0, min(1.0, error / delta)))


@pytest.mark.parametrize(("norm", "power"), [("l2", 1), ("l2_squared", 2)])
def test_errors_are_in_units_of_the_scale(norm: str, power: int) -> None:
    spec = SPEC.model_copy(update={"force_norm": norm})
    one = training_loss(spec, 1.0, PREDICTION, zeros(BATCH), BATCH)
    half = training_loss(spec, 2.0, PREDICTION, zeros(BATCH), BATCH)
    assert half.named()["energy"] == pytest.approx(one.named()["energy"] / 2)
    assert half.named()["forces"] == pytest.approx(one.named()["forces"] / 2**power)
    assert half.named()["stress"] == pytest.approx(one.named()["stress"] / 2)


def test_only_differences_from_the_labels_count() -> None:
    labels = Labels(PREDICTION.energy - 1.0, PREDICTION.forces, PREDICTION.stress)
    terms = training_loss(SPEC, 1.0, PREDICTION, labels, BATCH)
    assert terms.named()["energy"] == pytest.approx((1 / 2 + 1) / 2)
    assert (terms.named()["forces"], terms.named()["stress"]) == (0.0, 0.0)


def test_missing_labels_are_left_out_of_the_means_and_of_the_gradient() -> None:
    labels = zeros(BATCH)
    labels.energy[0] = NAN
    labels.forces[2, 1] = NAN  # one component is missing: the atom does not count
    labels.stress[1] = NAN
    leaves = [x.clone().requires_grad_() for x in (PREDICTION.energy, PREDICTION.forces, PREDICTION.stress)]
    terms = training_loss(
        SPEC, 1.0, Prediction(*leaves, PREDICTION.energies, PREDICTION.virial), labels, BATCH
    )
    terms.total.backward()
    assert terms.named()["energy"] == pytest.approx(4)
    assert terms.named()["forces"] == pytest.approx((5 + 1) / 2)
    assert terms.named()["stress"] == pytest.approx(0.9)
    energy, forces, stress = (leaf.grad for leaf in leaves)
    assert energy is not None and forces is not None and stress is not None
    assert energy.tolist() == [0.0, -2.0]
    assert forces[2].tolist() == [0.0, 0.0, 0.0]
    assert forces[0].tolist() == pytest.approx([10 * 0.5 * 0.6, 10 * 0.5 * 0.8, 0.0])
    assert not stress[1].any()
    assert torch.isfinite(torch.cat([energy, forces.flatten(), stress.flatten()])).all()


def test_without_any_label_there_is_no_term() -> None:
    labels = zeros(BATCH)
    labels.stress[:] = NAN
    forces = PREDICTION.forces.clone().requires_grad_()
    terms = training_loss(SPEC, 1.0, replace(PREDICTION, forces=forces), labels, BATCH)
    terms.total.backward()
    assert terms.named()["stress"] == 0.0
    assert math.isfinite(float(terms.total.detach()))
    assert forces.grad is not None
    assert forces.grad.any()


@pytest.mark.parametrize("norm", ["l2", "l2_squared"])
def test_the_gradient_is_finite_where_the_error_is_zero(norm: str) -> None:
    leaves = [x.clone().requires_grad_() for x in (PREDICTION.energy, PREDICTION.forces, PREDICTION.stress)]
    labels = Labels(PREDICTION.energy, PREDICTION.forces, PREDICTION.stress)
    spec = SPEC.model_copy(update={"force_norm": norm})
    terms = training_loss(
        spec, 1.0, Prediction(*leaves, PREDICTION.energies, PREDICTION.virial), labels, BATCH
    )
    terms.total.backward()
    assert float(terms.total.detach()) == 0.0
    assert not any(leaf.grad.any() or leaf.grad.isnan().any() for leaf in leaves if leaf.grad is not None)


def test_a_sum_of_parts_holds_no_graph() -> None:
    energy = PREDICTION.energy.clone().requires_grad_()
    terms = training_loss(SPEC, 1.0, replace(PREDICTION, energy=energy), zeros(BATCH), BATCH)
    assert terms.total.requires_grad
    whole = terms + terms
    assert not whole.total.requires_grad
    assert not whole.terms.requires_grad
    assert float(whole.total) == 2 * float(terms.total.detach())


@pytest.mark.parametrize("kind", ["conservative", "direct"])
def test_a_stress_that_is_not_there_has_no_part_in_the_gradient(kind: str) -> None:
    """Molecules have a stress of NaN, and labels of slabs are not used; the weights' gradients stay finite."""
    spec = ModelSpec.model_validate(
        {"lmax": 2, "mmax": 1, "layers": 1, "sphere_channels": 4, "hidden_channels": 4, "edge_channels": 4}
        | {"max_elements": 10, "cutoff": 3.0, "forces": {"kind": kind}}
    )
    potential = make_potential(spec, seed=0).double().train()
    positions, cell = np.array([[0.0, 0, 0], [1.3, 0.4, 0.2]]), 3.1 * np.eye(3)
    crystal, slab, molecule = (
        Structure(np.array([3, 8]), positions, size * cell, np.array(pbc))
        for size, pbc in ((1, [True] * 3), (1, [True, True, False]), (0, [False] * 3))
    )
    batch = make_graph([crystal, slab, molecule], spec.cutoff)
    labels = make_labels([replace(crystal, energy=0.0, stress=np.zeros((3, 3))), slab, molecule])
    prediction = potential(batch)
    assert prediction.stress[:2].isfinite().all()
    assert prediction.stress[2].isnan().all()
    terms = training_loss(SPEC, 1.0, prediction, labels, batch)
    terms.total.backward()
    assert terms.named()["stress"] > 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in potential.parameters())
