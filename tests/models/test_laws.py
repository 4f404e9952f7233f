"""Every variant of the network obeys the laws of physics to 1e-9 in float64."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import molecule
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from jaxtyping import Float64

from esen.data.structure import Structure
from esen.evaluate.laws.moves import rotation_onto
from esen.graph.batch import make_graph
from esen.graph.types import Prediction
from tests.models.variants import (
    chiral_molecule,
    each_variant,
    isolated,
    potential_of,
    predict,
    triclinic_crystal,
)
from tests.strategies import rotations, structures

TOLERANCE = 1e-9
few = settings(max_examples=8, phases=[Phase.generate])  # to shrink a failure would take minutes


def close(ours: torch.Tensor | np.ndarray, expected: torch.Tensor | np.ndarray, like: Prediction) -> bool:
    """Return whether two results agree to 1e-9 of the largest energy or force of an atom, and are NaN together."""
    size = max(float(like.energies.abs().max()), float(like.forces.abs().max()))
    return np.allclose(np.asarray(ours), np.asarray(expected), rtol=0, atol=TOLERANCE * size, equal_nan=True)


def turned(structure: Structure, matrix: Float64[np.ndarray, "3 3"]) -> Structure:
    return replace(structure, positions=structure.positions @ matrix.T, cell=structure.cell @ matrix.T)


def obeys_rotation(before: Prediction, after: Prediction, matrix: Float64[np.ndarray, "3 3"]) -> bool:
    return (
        close(after.energies, before.energies, before)
        and close(after.forces, before.forces.numpy() @ matrix.T, before)
        and close(after.stress, matrix @ before.stress.numpy() @ matrix.T, before)
    )


@each_variant
@given(structure=structures(max_atoms=3), rotation=rotations())
@few
def test_rotation(variant: str, structure: Structure, rotation: Float64[np.ndarray, "3 3"]) -> None:
    before, after = predict(variant, structure, turned(structure, rotation))
    assert obeys_rotation(before, after, rotation)


@each_variant
def test_reflection_holds_without_orders_above_zero_and_only_there(variant: str) -> None:
    """Wi mixes cos(mφ) with sin(mφ), which a mirror distinguishes: eSEN is not invariant, nor is the published code."""
    structure, mirror = chiral_molecule(), np.diag([1.0, 1.0, -1.0])
    before, after = predict(variant, structure, turned(structure, mirror))
    assert obeys_rotation(before, after, mirror) == (variant == "mmax 0")
    difference = np.abs(after.forces.numpy() - before.forces.numpy() @ mirror).max()
    assert difference < 1e-12 if variant == "mmax 0" else difference > 1e-4


@each_variant
def test_no_direction_is_special(variant: str) -> None:
    """Water with an O–H bond along an axis, or next to it, obeys the law of rotation."""
    water = molecule("H2O")
    bond = water.positions[1] - water.positions[0]
    axes = [np.eye(3)[i] * sign for i in range(3) for sign in (1, -1)]
    placed = []
    for axis in axes:
        for offset in (0.0, 1e-7, 1e-3):
            for beside in (np.roll(axis, 1), np.roll(axis, 2)):
                matrix = rotation_onto(bond, axis + offset * beside)
                placed.append(isolated([8, 1, 1], water.positions @ matrix.T))
    anywhere = rotation_onto(np.array([1.0, 0, 0]), np.array([0.3, -0.5, 0.7]))
    predictions = predict(variant, *placed, *(turned(s, anywhere) for s in placed))
    for before, after in zip(predictions[: len(placed)], predictions[len(placed) :], strict=True):
        assert obeys_rotation(before, after, anywhere)
        assert before.forces.abs().max() > 1e-3


@pytest.mark.parametrize("variant", ["default", "lmax 3, mmax 2"])
def test_the_energy_is_continuous_as_a_bond_sweeps_through_the_axes(variant: str) -> None:
    """A bond of water rotates in steps of 1e-4 rad through ±y and through n_y = 0, where the roll of the frame jumps.

    A jump would stand out of the third differences, which are about (1e-4)³ of the energy.
    """
    step, length = 1e-4, 0.97
    for centre in (np.pi / 2, -np.pi / 2, 0.0, np.pi):
        for lift in (0.0, 1e-4):
            angles = centre + step * np.arange(-12, 13)
            ends = length * np.stack([np.cos(angles), np.sin(angles), np.full(25, lift)], axis=1)
            waters = [isolated([8, 1, 1], [[0, 0, 0], end, [0.4, 0.3, 0.82]]) for end in ends]
            predictions = predict(variant, *waters)
            energies = np.array([float(p.energy) for p in predictions])
            forces = np.stack([p.forces.numpy() for p in predictions])
            assert np.ptp(energies) > 1e-6
            assert np.abs(np.diff(energies, n=3)).max() < 1e-9
            assert np.abs(np.diff(forces, n=2, axis=0)).max() < 1e-6


@each_variant
def test_force_constants_of_a_cubic_crystal_are_cubic(variant: str) -> None:
    """The published code's force constants differ by 1.3 % between the axes below 0.004 Å."""
    sites = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    positions = 5.6 * np.concatenate([sites, (sites + np.array([0.5, 0, 0])) % 1])
    salt = Structure(np.array([11] * 4 + [17] * 4), positions, np.eye(3) * 5.6, np.ones(3, dtype=bool))

    def moved(axis: int, distance: float) -> Structure:
        return replace(salt, positions=positions + distance * np.eye(8, 1) * np.eye(3)[axis])

    for distance in (2e-4, 2e-3, 1e-2, 3e-2):
        predictions = predict(variant, *(moved(axis, distance) for axis in range(3)))
        constants = [-float(p.forces[0, axis]) / distance for axis, p in enumerate(predictions)]
        assert min(map(abs, constants)) > 1e-4
        assert max(constants) - min(constants) < TOLERANCE * max(map(abs, constants))


@each_variant
@given(structure=structures(max_atoms=3), shift=st.tuples(*[st.floats(-10, 10)] * 3), seed=st.integers(0, 99))
@few
def test_translation_permutation_and_choice_of_cell(
    variant: str, structure: Structure, shift: tuple[float, float, float], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(structure))
    cell = structure.cell
    if structure.pbc.all():
        cell = np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]]) @ cell
    lattice = rng.integers(-2, 3, (len(structure), 3)) * structure.pbc
    other = Structure(
        numbers=structure.numbers[order],
        positions=(structure.positions + lattice @ structure.cell)[order] + shift,
        cell=cell,
        pbc=structure.pbc,
    )
    before, after = predict(variant, structure, other)
    assert close(after.energies, before.energies[order], before)
    assert close(after.forces, before.forces[order], before)
    assert close(after.stress, before.stress, before)


@each_variant
@given(batch=st.lists(structures(max_atoms=3), min_size=2, max_size=4))
@few
def test_a_batch_equals_its_singles(variant: str, batch: list[Structure]) -> None:
    for structure, together in zip(batch, predict(variant, *batch), strict=True):
        (alone,) = predict(variant, structure)
        assert close(together.energy, alone.energy, alone)
        assert close(together.energies, alone.energies, alone)
        assert close(together.forces, alone.forces, alone)
        assert close(together.stress, alone.stress, alone)


@each_variant
@given(structure=structures(max_atoms=2, periodicities=["crystal", "slab"]))
@settings(few, max_examples=4)
def test_a_supercell_has_its_cells_energy(variant: str, structure: Structure) -> None:
    repeats = [2 if periodic else 1 for periodic in structure.pbc]
    shifts = np.stack(np.meshgrid(*map(np.arange, repeats), indexing="ij"), axis=-1).reshape(-1, 3)
    supercell = Structure(
        numbers=np.tile(structure.numbers, len(shifts)),
        positions=np.concatenate([structure.positions + s @ structure.cell for s in shifts]),
        cell=structure.cell * np.array(repeats)[:, None],
        pbc=structure.pbc,
    )
    one, many = predict(variant, structure, supercell)
    assert close(many.energies, np.tile(one.energies, len(shifts)), one)
    assert close(many.energy / len(shifts), one.energy, one)
    assert close(many.forces, np.tile(one.forces, (len(shifts), 1)), one)
    assert close(many.stress, one.stress, one)


@each_variant
def test_the_same_input_gives_the_same_bits(variant: str) -> None:
    for structure in (chiral_molecule(), triclinic_crystal()):
        (first,), (second,) = predict(variant, structure), predict(variant, structure)
        assert torch.equal(first.energies, second.energies)
        assert torch.equal(first.forces, second.forces)
        assert torch.equal(first.virial.nan_to_num(), second.virial.nan_to_num())


@each_variant
def test_an_isolated_atom_is_the_same_alone_and_in_company(variant: str) -> None:
    atom, dimer = isolated([8], [[0, 0, 0]]), isolated([8, 8], [[0, 0, 0], [0, 9, 0]])
    (alone,), (apart,) = predict(variant, atom), predict(variant, dimer)
    _, together = predict(variant, chiral_molecule(), atom)
    assert close(together.energy, alone.energy, alone)
    assert close(apart.energies, alone.energies.expand(2), alone)
    assert abs(float(alone.energy)) > 1e-3
    for prediction in (alone, apart, together):
        assert not prediction.forces.any()
        assert not prediction.virial.nan_to_num().any()  # a direct stress is NaN without a volume


@each_variant
def test_one_atom_in_a_cell_smaller_than_the_cutoff(variant: str) -> None:
    cell = np.array([[0.0, 1.4, 1.4], [1.4, 0.0, 1.4], [1.4, 1.4, 0.0]])
    iron = Structure(np.array([26]), np.zeros((1, 3)), cell, np.ones(3, dtype=bool))
    (prediction,) = predict(variant, iron)
    assert prediction.forces.abs().max() < 1e-12
    stress = prediction.stress[0]
    assert close(stress, np.eye(3) * float(stress[0, 0]), prediction)
    assert abs(stress[0, 0]) > 1e-6


def dimer(distance: float) -> Structure:
    direction = np.array([0.1, 1.0, 0.2])
    return isolated([8, 12], np.outer([0, distance / np.linalg.norm(direction)], direction))


@each_variant
def test_a_bond_fades_as_it_reaches_the_cutoff(variant: str) -> None:
    """With an envelope the energy goes as (cutoff − d)³ and the force as (cutoff − d)²; without, both jump."""
    near, nearer, outside = predict(variant, *(dimer(4.0 - gap) for gap in (2e-3, 1e-3, -1e-6)))
    energies = [float(p.energy - outside.energy) for p in (near, nearer)]
    forces = [float(p.forces.norm()) for p in (near, nearer)]
    assert not outside.forces.any()
    if variant == "no envelope":
        assert abs(energies[1]) > 1e-4
        assert abs(forces[1]) > 1e-4
    elif variant == "smooth envelope":
        assert energies == [0.0, 0.0]  # faster than any power
    else:
        assert energies[0] / energies[1] == pytest.approx(8, rel=0.02)
        assert forces[0] / forces[1] == pytest.approx(4, rel=0.02)


@pytest.mark.parametrize("variant", ["default", "lmax 3, mmax 2", "bessel"])
def test_float32_differs_from_float64_by_rounding_only(variant: str) -> None:
    double, single = (potential_of(variant, dtype) for dtype in (torch.float64, torch.float32))
    graph = make_graph([chiral_molecule(), triclinic_crystal()], double.cutoff)
    exact, rounded = double(graph), single(graph)
    for name in ("energy", "forces", "stress"):
        a, b = getattr(exact, name), getattr(rounded, name)
        assert b.dtype == torch.float64
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-5, equal_nan=True)
        assert not torch.equal(a, b)
