from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esen.evaluate.laws.moves import (
    atoms_in_box,
    bare,
    pairs_within,
    random_rotation,
    rotation_onto,
    shortest_bond,
    strained,
    turned,
)
from tests.evaluate.laws.known import crystal, molecule, single_atom


@given(seed=st.integers(0, 10_000))
def test_random_rotations_are_proper(seed: int) -> None:
    matrix = random_rotation(np.random.default_rng(seed))
    assert matrix @ matrix.T == pytest.approx(np.eye(3), abs=1e-14)
    assert np.linalg.det(matrix) == pytest.approx(1.0)


@given(seed=st.integers(0, 10_000))
def test_a_direction_is_turned_onto_another(seed: int) -> None:
    start, end = np.random.default_rng(seed).normal(size=(2, 3))
    for target in (end, start, -start, np.array([0.0, -1.0, 0.0])):
        matrix = rotation_onto(start, target)
        assert matrix @ matrix.T == pytest.approx(np.eye(3), abs=1e-12)
        assert np.linalg.det(matrix) == pytest.approx(1.0)
        assert matrix @ start / np.linalg.norm(start) == pytest.approx(
            target / np.linalg.norm(target), abs=1e-12
        )


def test_strains() -> None:
    one = crystal()
    larger = strained(one, 0.1 * np.eye(3))
    assert larger.volume == pytest.approx(1.1**3 * one.volume)
    assert larger.positions == pytest.approx(1.1 * one.positions)


def test_the_shortest_bond_goes_through_cells() -> None:
    near = replace(crystal(), positions=np.array([[0.1, 0, 0], [2, 2, 0], [2, 0, 2], [3.9, 0.2, 0.0]]))
    found = shortest_bond(near)
    assert found is not None
    i, j, vector = found
    assert {i, j} == {0, 3}
    assert np.linalg.norm(vector) == pytest.approx(0.2)
    assert shortest_bond(single_atom(periodic=True)) is None
    i_all, _, vectors = pairs_within(molecule(), 3.0)
    assert sorted(i_all.tolist()) == [0, 0, 1, 2]
    assert (np.linalg.norm(vectors, axis=1) <= 3.0).all()


def test_a_rotation_keeps_distances_and_moves_the_cell() -> None:
    matrix = random_rotation(np.random.default_rng(0))
    after = turned(crystal(), matrix)
    assert after.cell @ after.cell.T == pytest.approx(crystal().cell @ crystal().cell.T)
    assert after.positions @ after.cell.T == pytest.approx(crystal().positions @ crystal().cell.T)


def test_labels_do_not_travel() -> None:
    labelled = replace(crystal(), energy=1.0, forces=np.ones((4, 3)), info={"a": 1})
    plain = bare(labelled)
    assert (plain.energy, plain.forces, plain.stress, plain.info) == (None, None, None, {})
    box = atoms_in_box([1, 8], np.array([[0.0, 0, 0], [0, 0, 1.0]]), "OH")
    assert np.linalg.norm(box.positions[1] - box.positions[0]) == pytest.approx(1.0)
    assert box.pbc.all()
