"""Forces, stress and the gradients of a loss on them agree with finite differences of the energy."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import molecule
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from jaxtyping import Float64

from esen.data.structure import Structure
from esen.graph.batch import make_graph
from esen.graph.edges import edge_vectors
from esen.graph.types import Prediction
from esen.models.potential import make_potential
from tests.models.variants import VARIANTS, each_variant, isolated, predict, triclinic_crystal
from tests.strategies import structures

STEP = 5e-4
STENCIL = [(-3, -1 / 60), (-2, 9 / 60), (-1, -45 / 60), (1, 45 / 60), (2, -9 / 60), (3, 1 / 60)]
TOLERANCE = 1e-9


def derivative(values: Sequence[float], step: float = STEP) -> float:
    """Return f′(0) to sixth order in the step from f at the points of the stencil."""
    return sum(weight * value for (_, weight), value in zip(STENCIL, values, strict=True)) / step


def along(path: Callable[[float], Structure]) -> list[Structure]:
    return [path(k * STEP) for k, _ in STENCIL]


def agrees(found: float, expected: float, prediction: Prediction) -> bool:
    """Return whether two values agree to 1e-9 of the largest energy, or of 1 if that is larger."""
    size = max(1.0, abs(expected), float(prediction.energies.abs().max()))
    return abs(found - expected) < TOLERANCE * size


def check_forces(variant: str, structure: Structure, direction: Float64[np.ndarray, "N 3"]) -> None:
    direction = direction / np.linalg.norm(direction, axis=1).max()
    paths = along(lambda h: replace(structure, positions=structure.positions + h * direction))
    prediction, *others = predict(variant, structure, *paths)
    slope = derivative([float(p.energy) for p in others])
    assert agrees(slope, -float((prediction.forces.numpy() * direction).sum()), prediction)


def check_stress(variant: str, structure: Structure, strain: Float64[np.ndarray, "3 3"]) -> None:
    """Strain positions and cell, r → r(1 + hε). The antisymmetric part of ε is a rotation, which costs no energy."""

    def strained(h: float) -> Structure:
        deformation = np.eye(3) + h * strain
        return replace(
            structure, positions=structure.positions @ deformation, cell=structure.cell @ deformation
        )

    prediction, *others = predict(variant, structure, *along(strained))
    slope = derivative([float(p.energy) for p in others])
    expected = float((prediction.stress[0].numpy() * strain).sum()) * structure.volume
    assert agrees(slope, expected, prediction)
    assert torch.equal(prediction.stress, prediction.stress.mT)


def crosses_cutoff(structure: Structure, cutoff: float = 4.0, margin: float = 0.004) -> bool:
    """Return whether an edge may cross the cutoff, where the third derivative jumps, within the finite differences."""
    lengths = edge_vectors(make_graph(structure, cutoff + margin)).norm(dim=1)
    return bool((lengths > cutoff - margin).any())


@each_variant
@given(structure=structures(max_atoms=3), seed=st.integers(0, 99))
@settings(max_examples=6, phases=[Phase.generate])  # to shrink a failure would take minutes
def test_forces_and_stress(variant: str, structure: Structure, seed: int) -> None:
    assume(not crosses_cutoff(structure))
    rng = np.random.default_rng(seed)
    check_forces(variant, structure, rng.normal(size=structure.positions.shape))
    if structure.pbc.all():
        strain = rng.normal(size=(3, 3))
        check_stress(variant, structure, 0.2 * strain / np.linalg.norm(strain))


@each_variant
def test_forces_and_stress_of_a_left_handed_triclinic_crystal(variant: str) -> None:
    """Every component is tested separately, and all are far from zero."""
    crystal = triclinic_crystal()
    assert np.linalg.det(crystal.cell) < 0
    assert not crosses_cutoff(crystal)
    (prediction,) = predict(variant, crystal)
    assert prediction.forces.abs().min() > 1e-4
    assert prediction.stress.abs().min() > 1e-5
    for atom, axis in [(0, 0), (1, 1), (2, 2)]:
        check_forces(variant, crystal, np.outer(np.eye(3)[atom], np.eye(3)[axis]))
    for row, column in [(0, 0), (1, 1), (2, 2), (0, 1), (1, 0), (0, 2), (2, 1)]:
        check_stress(variant, crystal, 0.2 * np.outer(np.eye(3)[row], np.eye(3)[column]))


@each_variant
def test_forces_on_edges_along_the_axes(variant: str) -> None:
    """The steps cross the axis, follow it, and cross from one hemisphere to the other."""
    bond = 0.97 * np.eye(3)
    bent = np.array([0.35, -0.5, 0.72])
    for axis in range(3):
        for sign in (1, -1):
            for offset in (0.0, 1e-7, 1e-3):
                first = sign * bond[axis] + offset * bond[(axis + 1) % 3]
                water = isolated([8, 1, 1], [np.zeros(3), first, bent])
                check_forces(variant, water, np.random.default_rng(axis).normal(size=(3, 3)))


@pytest.mark.parametrize("variant", ["default", "lmax 3, mmax 2", "bessel"])
def test_gradients_by_the_weights(variant: str) -> None:
    """Training differentiates forces and stress once more."""
    potential = make_potential(VARIANTS[variant], seed=3).double().train()
    graph = make_graph([triclinic_crystal(), _ethanol()], potential.cutoff)
    weights = list(potential.parameters())
    generator = torch.Generator().manual_seed(0)
    directions = [torch.randn(w.shape, generator=generator, dtype=torch.float64) for w in weights]

    def loss() -> torch.Tensor:
        prediction = potential(graph)
        return (
            prediction.forces.square().sum()
            + prediction.energy.square().sum()
            + 1e3 * prediction.stress[0].square().sum()
        )

    def shifted(h: float) -> float:
        with torch.no_grad():
            for weight, direction in zip(weights, directions, strict=True):
                weight.add_(h * direction)
        value = float(loss().detach())
        with torch.no_grad():
            for weight, direction in zip(weights, directions, strict=True):
                weight.sub_(h * direction)
        return value

    gradients = torch.autograd.grad(loss(), weights)
    assert all(g.any() for g in gradients)
    expected = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))
    found = derivative([shifted(k * 1e-4) for k, _ in STENCIL], step=1e-4)
    assert abs(expected) > 1e-2
    assert found == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("variant", ["default", "bessel", "smooth envelope"])
def test_a_loss_on_forces_can_be_differentiated_twice(variant: str) -> None:
    """The derivatives of a loss on forces with respect to positions involve third derivatives of the energy."""
    potential = make_potential(VARIANTS[variant], seed=0).double().train()
    structure = isolated([8, 1, 12], [[0, 0, 0], [0.9, 0.3, -0.2], [-0.4, 1.5, 0.8]])
    graph = make_graph(structure, potential.cutoff)
    generator = torch.Generator().manual_seed(0)
    labels = torch.randn(3, 3, generator=generator, dtype=torch.float64)

    def loss(positions: torch.Tensor) -> torch.Tensor:
        prediction = potential(replace(graph, positions=positions))
        return prediction.energy.sum() + (prediction.forces - labels).square().sum()

    start = graph.positions.clone().requires_grad_()
    assert torch.autograd.gradcheck(loss, (start,), eps=1e-5, atol=1e-6, rtol=1e-6)
    assert torch.autograd.gradgradcheck(loss, (start,), eps=1e-5, atol=1e-6, rtol=1e-6)


def _ethanol() -> Structure:
    atoms = molecule("CH3CH2OH")
    return isolated(atoms.numbers.tolist(), atoms.positions)
