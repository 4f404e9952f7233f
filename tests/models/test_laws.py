"""The laws of physics that every variant of the network obeys, in float64 to 1e-9."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import molecule
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jaxtyping import Float64

from esen.data.structure import Structure
from esen.graph.batch import make_graph, separate
from esen.graph.edges import edge_vectors
from esen.graph.types import Prediction
from esen.models.potential import make_potential
from tests.models.variants import VARIANTS, potential_of
from tests.strategies import rotations, structures

TOLERANCE = 1e-9
variants = pytest.mark.parametrize("variant", VARIANTS)
few = settings(max_examples=12)


def predict(variant: str, structure: Structure) -> Prediction:
    potential = potential_of(variant)
    return potential(make_graph(structure, potential.cutoff))


def energy(variant: str, structure: Structure) -> float:
    return float(predict(variant, structure).energy)


def close(ours: torch.Tensor | np.ndarray, expected: torch.Tensor | np.ndarray, size: float = 1.0) -> bool:
    difference = np.abs(np.asarray(ours) - np.asarray(expected))
    return bool(difference.max(initial=0.0) <= TOLERANCE * max(size, 1.0))


def turned(structure: Structure, matrix: Float64[np.ndarray, "3 3"]) -> Structure:
    return replace(
        structure, positions=structure.positions @ matrix.T, cell=structure.cell @ matrix.T, forces=None
    )


def size_of(prediction: Prediction) -> float:
    """Rounding grows with the energies and forces of single atoms."""
    return float(max(prediction.energies.abs().max(), prediction.forces.abs().max()))


@variants
@given(structure=structures(max_atoms=3), rotation=rotations())
@few
def test_rotation(variant: str, structure: Structure, rotation: Float64[np.ndarray, "3 3"]) -> None:
    before, after = predict(variant, structure), predict(variant, turned(structure, rotation))
    size = size_of(before)
    assert close(after.energies, before.energies, size)
    assert close(after.forces, before.forces @ rotation.T, size)
    assert close(after.stress, rotation @ before.stress.numpy() @ rotation.T, size)


def chiral_molecule() -> Structure:
    positions = np.array([[0, 0, 0], [1.1, 0.2, 0], [-0.4, 1.5, 0.1], [-0.5, -0.4, 1.7], [0.3, -0.9, -1.2]])
    return Structure(np.array([6, 1, 8, 12, 26]), positions, np.zeros((3, 3)), np.zeros(3, dtype=bool))


def test_reflection_holds_without_orders_above_zero_and_only_there() -> None:
    """Wi mixes cos(mφ) with sin(mφ), which a mirror tells apart: eSEN distinguishes hands, as its authors' does."""
    structure, mirror = chiral_molecule(), np.diag([1.0, 1.0, -1.0])
    for variant in VARIANTS:
        before, after = predict(variant, structure), predict(variant, turned(structure, mirror))
        same = close(after.energy, before.energy, 1.0) and close(after.forces, before.forces @ mirror, 1.0)
        assert same == (variant == "mmax 0")


AXES = [np.eye(3)[i] * sign for i in range(3) for sign in (1, -1)]


@variants
@pytest.mark.parametrize("axis", AXES, ids=["+x", "-x", "+y", "-y", "+z", "-z"])
@pytest.mark.parametrize("offset", [0.0, 1e-7, 1e-3])
def test_no_direction_is_special(variant: str, axis: np.ndarray, offset: float) -> None:
    """Water with an O–H bond exactly along an axis, or just beside it, against the same turned anywhere."""
    water = molecule("H2O")
    bond = water.positions[1] - water.positions[0]
    target = axis + offset * np.roll(axis, 1)
    onto = _rotation_between(bond, target)
    structure = Structure(
        water.numbers.astype(np.int64), water.positions @ onto.T, np.zeros((3, 3)), np.zeros(3, bool)
    )
    anywhere = _rotation_between(np.array([1.0, 0, 0]), np.array([0.3, -0.5, 0.7]))
    before, after = predict(variant, structure), predict(variant, turned(structure, anywhere))
    assert close(after.energies, before.energies, size_of(before))
    assert close(after.forces, before.forces @ anywhere.T, size_of(before))
    _check_forces(variant, structure)


@variants
def test_force_constants_of_a_cubic_crystal_are_cubic(variant: str) -> None:
    """The published code's force constants differ by 1.3 % between the axes below 0.004 Å."""
    cell = np.eye(3) * 5.6
    sites = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    positions = np.concatenate([sites, (sites + [0.5, 0, 0]) % 1]) @ cell
    salt = Structure(np.array([11] * 4 + [17] * 4), positions, cell, np.ones(3, dtype=bool))
    for distance in (2e-4, 1e-2):
        constants = []
        for axis in range(3):
            moved = positions.copy()
            moved[0, axis] += distance
            forces = predict(variant, replace(salt, positions=moved)).forces
            constants.append(float(-forces[0, axis]) / distance)
        assert max(constants) - min(constants) < 1e-8 * max(1.0, *map(abs, constants))


def _rotation_between(start: np.ndarray, end: np.ndarray) -> Float64[np.ndarray, "3 3"]:
    a, b = start / np.linalg.norm(start), end / np.linalg.norm(end)
    if np.linalg.norm(a + b) < 1e-6:
        perpendicular = np.cross(a, np.eye(3)[np.argmin(np.abs(a))])
        perpendicular /= np.linalg.norm(perpendicular)
        return 2 * np.outer(perpendicular, perpendicular) - np.eye(3)
    both = a + b
    return 2 * np.outer(both, both) / (both @ both) @ (2 * np.outer(a, a) - np.eye(3))


@variants
@given(structure=structures(max_atoms=3), shift=st.tuples(*[st.floats(-10, 10)] * 3), seed=st.integers(0, 99))
@few
def test_translation_permutation_and_choice_of_cell(
    variant: str, structure: Structure, shift: tuple[float, float, float], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(structure))
    cell = structure.cell.copy()
    if structure.pbc.all():
        cell = np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]]) @ cell
    lattice = rng.integers(-2, 3, (len(structure), 3)) * structure.pbc
    other = Structure(
        numbers=structure.numbers[order],
        positions=(structure.positions + lattice @ structure.cell)[order] + shift,
        cell=cell,
        pbc=structure.pbc,
    )
    before, after = predict(variant, structure), predict(variant, other)
    size = size_of(before)
    assert close(after.energies, before.energies[order], size)
    assert close(after.forces, before.forces[order], size)
    assert close(after.stress, before.stress, size)


@variants
@given(batch=st.lists(structures(max_atoms=3), min_size=2, max_size=4))
@few
def test_a_batch_equals_its_singles(variant: str, batch: list[Structure]) -> None:
    potential = potential_of(variant)
    graph = make_graph(batch, potential.cutoff)
    for structure, together in zip(batch, separate(potential(graph), graph), strict=True):
        alone = predict(variant, structure)
        size = size_of(alone)
        assert close(together.energy, alone.energy, size)
        assert close(together.forces, alone.forces, size)
        assert close(together.stress, alone.stress, size)


@variants
@given(structure=structures(max_atoms=2, periodicities=["crystal", "slab"]))
@settings(max_examples=4)
def test_a_supercell_has_its_cells_energy(variant: str, structure: Structure) -> None:
    repeats = [2 if periodic else 1 for periodic in structure.pbc]
    shifts = np.stack(np.meshgrid(*map(np.arange, repeats), indexing="ij"), axis=-1).reshape(-1, 3)
    supercell = Structure(
        numbers=np.tile(structure.numbers, len(shifts)),
        positions=np.concatenate([structure.positions + s @ structure.cell for s in shifts]),
        cell=structure.cell * np.array(repeats)[:, None],
        pbc=structure.pbc,
    )
    one, many = predict(variant, structure), predict(variant, supercell)
    assert close(many.energies, np.tile(one.energies, len(shifts)), size_of(one))
    assert close(many.energy, one.energy * len(shifts), size_of(one) * len(supercell))
    assert close(many.stress, one.stress, size_of(one))


def _check_forces(variant: str, structure: Structure) -> None:
    """Against the fourth-order difference of the energy along a random direction."""
    prediction = predict(variant, structure)
    direction = np.random.default_rng(0).normal(size=structure.positions.shape)
    slope = _derivative(
        lambda h: energy(variant, replace(structure, positions=structure.positions + h * direction))
    )
    assert abs(slope + float((prediction.forces * torch.from_numpy(direction)).sum())) < 1e-8 * max(
        1.0, size_of(prediction)
    )


def _derivative(function: Callable[[float], float], h: float = 2e-3) -> float:
    """f′(0) to sixth order in h."""
    steps = [(1, 45 / 60), (2, -9 / 60), (3, 1 / 60)]
    return sum(c * (function(k * h) - function(-k * h)) for k, c in steps) / h


@variants
@given(structure=structures(max_atoms=3))
@few
def test_forces_and_stress_are_derivatives_of_the_energy(variant: str, structure: Structure) -> None:
    assume(variant != "no envelope" or not _near_cutoff(structure))
    _check_forces(variant, structure)
    if not structure.pbc.all():
        return
    prediction = predict(variant, structure)
    strain = np.random.default_rng(1).normal(size=(3, 3)) * 0.3
    strain = (strain + strain.T) / 2

    def strained(h: float) -> float:
        deformation = np.eye(3) + h * strain
        return energy(
            variant,
            replace(
                structure, positions=structure.positions @ deformation, cell=structure.cell @ deformation
            ),
        )

    expected = float((prediction.stress * torch.from_numpy(strain)).sum()) * structure.volume
    assert abs(_derivative(strained) - expected) < 1e-8 * max(1.0, size_of(prediction), abs(expected))


def _near_cutoff(structure: Structure) -> bool:
    """Whether an edge enters or leaves within the steps of the finite differences."""
    graph = make_graph(structure, 4.0 + 0.2)
    return bool(((edge_vectors(graph).norm(dim=1) - 4.0).abs() < 0.1).any())


@variants
def test_the_same_input_gives_the_same_bits(variant: str) -> None:
    structure = chiral_molecule()
    first, second = predict(variant, structure), predict(variant, structure)
    assert torch.equal(first.energies, second.energies)
    assert torch.equal(first.forces, second.forces)


@variants
def test_an_isolated_atom_is_the_same_alone_and_in_company(variant: str) -> None:
    potential = potential_of(variant)
    atom = Structure(np.array([8]), np.zeros((1, 3)), np.zeros((3, 3)), np.zeros(3, dtype=bool))
    alone = predict(variant, atom)
    graph = make_graph([chiral_molecule(), atom], potential.cutoff)
    together = separate(potential(graph), graph)[1]
    far = replace(atom, numbers=np.array([8, 8]), positions=np.array([[0, 0, 0], [0, 9.0, 0]]))
    dimer = predict(variant, far)
    assert close(together.energy, alone.energy)
    assert close(dimer.energies, alone.energies)
    assert not alone.forces.any()
    assert not dimer.forces.any()


@variants
def test_one_atom_in_a_cell_smaller_than_the_cutoff(variant: str) -> None:
    cell = np.array([[0.0, 1.4, 1.4], [1.4, 0.0, 1.4], [1.4, 1.4, 0.0]])
    prediction = predict(variant, Structure(np.array([26]), np.zeros((1, 3)), cell, np.ones(3, dtype=bool)))
    assert prediction.forces.abs().max() < 1e-12
    stress = prediction.stress.numpy()
    assert close(stress[0], np.eye(3) * stress[0, 0, 0])
    assert abs(stress[0, 0, 0]) > 1e-6


@variants
def test_energy_as_a_bond_reaches_the_cutoff(variant: str) -> None:
    """With an envelope the energy, the force and its slope arrive at the cutoff without a jump; else they jump."""

    def dimer(distance: float) -> Prediction:
        positions = np.array([[0.0, 0, 0], [0.1, distance, 0.2]])
        positions[1] *= distance / np.linalg.norm(positions[1])
        return predict(
            variant, Structure(np.array([8, 12]), positions, np.zeros((3, 3)), np.zeros(3, dtype=bool))
        )

    inside, outside = dimer(4.0 - 1e-6), dimer(4.0 + 1e-6)
    jump = abs(float(inside.energy - outside.energy))
    if variant == "no envelope":
        assert jump > 1e-4
    else:
        assert jump < 1e-12
        assert inside.forces.abs().max() < 1e-9


def test_float32_differs_from_float64_by_rounding_only() -> None:
    structure = chiral_molecule()
    double, single = (potential_of("default", dtype) for dtype in (torch.float64, torch.float32))
    graph = make_graph(structure, double.cutoff)
    assert torch.allclose(single(graph).energy, double(graph).energy, rtol=0, atol=1e-5)
    assert torch.allclose(single(graph).forces, double(graph).forces, rtol=0, atol=1e-5)
    assert not torch.equal(single(graph).forces, double(graph).forces)


def test_second_derivatives_by_the_weights() -> None:
    """Training differentiates forces: the gradient of a loss on forces and stress, against finite differences."""
    potential = make_potential(VARIANTS["default"], seed=3).double().train()
    graph = make_graph(chiral_molecule(), potential.cutoff)
    weights = [p for p in potential.parameters() if p.numel() > 1][::3]

    def loss() -> torch.Tensor:
        prediction = potential(graph)
        return prediction.forces.square().sum() + prediction.energy.square().sum()

    gradients = torch.autograd.grad(loss(), weights)
    generator = torch.Generator().manual_seed(0)
    directions = [torch.randn(w.shape, generator=generator, dtype=torch.float64) for w in weights]
    expected = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True))

    def along(h: float) -> float:
        with torch.no_grad():
            for weight, direction in zip(weights, directions, strict=True):
                weight.add_(h * direction)
        value = float(loss().detach())
        with torch.no_grad():
            for weight, direction in zip(weights, directions, strict=True):
                weight.sub_(h * direction)
        return value

    assert abs(expected) > 1e-2
    assert abs(_derivative(along, 1e-4) - expected) < 1e-7 * abs(expected)
