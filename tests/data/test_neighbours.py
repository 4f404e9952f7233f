import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esen.data.neighbours import is_degenerate, neighbour_list
from esen.data.structure import Structure
from esen.errors import InputError
from tests.strategies import CLOSEST, structures

PERIODIC = np.array([True, True, True])
OPEN = np.array([False, False, False])


def image_sum(structure, cutoff):
    """Every pair within the cutoff, found by going through all images, with its distance."""
    cell = np.where(structure.pbc[:, None], structure.cell, 0.0)
    spread = np.linalg.norm(np.ptp(structure.positions, axis=0))
    inverse = np.linalg.pinv(cell)
    furthest = (cutoff + spread) * np.linalg.norm(inverse, axis=0)
    reach = [math.ceil(n) if periodic else 0 for n, periodic in zip(furthest, structure.pbc, strict=True)]
    pairs = {}
    for shift in itertools.product(*(range(-n, n + 1) for n in reach)):
        offset = np.array(shift) @ cell
        vectors = structure.positions[None] + offset - structure.positions[:, None]
        distances = np.linalg.norm(vectors, axis=-1)
        for receiver, sender in np.argwhere(distances <= cutoff + 1e-6).tolist():
            if receiver != sender or any(shift):
                pairs[receiver, sender, shift] = distances[receiver, sender]
    return pairs


def listed(structure, cutoff):
    sender, receiver, shift = neighbour_list(structure.positions, structure.cell, structure.pbc, cutoff)
    return list(zip(receiver.tolist(), sender.tolist(), (tuple(row) for row in shift.tolist()), strict=True))


@given(structures(max_atoms=3), st.floats(0.5, 6.0))
def test_equals_the_image_sum(structure, cutoff):
    expected = image_sum(structure, cutoff)
    found = listed(structure, cutoff)
    assert found == sorted(set(found))
    doubtful = {pair for pair, distance in expected.items() if abs(distance - cutoff) < 1e-9}
    beyond = {pair for pair, distance in expected.items() if distance > cutoff}
    assert set(found) - doubtful == set(expected) - beyond - doubtful


@given(structures(max_atoms=4), st.floats(2.0, 8.0))
def test_every_edge_has_its_reverse(structure, cutoff):
    found = set(listed(structure, cutoff))
    assert found == {(j, i, tuple(-s for s in shift)) for i, j, shift in found}


@given(structures(max_atoms=4))
def test_drawn_structures_keep_their_distance(structure):
    assert listed(structure, CLOSEST * (1 - 1e-9)) == []


def test_the_cutoff_is_closed():
    # The shells of a simple cubic lattice of 2 Å up to 4 Å: 6 + 12 + 8 + 6.
    structure = Structure(np.array([1]), np.zeros((1, 3)), 2.0 * np.eye(3), PERIODIC)
    assert len(listed(structure, 2.0)) == 6
    assert len(listed(structure, np.nextafter(2.0, 0.0))) == 0
    assert len(listed(structure, 4.0)) == 32


def test_edges_are_sorted_by_receiver_sender_and_shift():
    positions = np.array([[3.1, -4.0, 0.2], [0.4, 0.9, 7.7], [1.0, 1.1, 1.2]])
    cell = np.array([[3.0, 0.2, 0.1], [-1.0, 4.0, 0.3], [0.5, 1.0, 3.5]])
    found = listed(Structure(np.ones(3, dtype=np.int64), positions, cell, PERIODIC), 7.0)
    assert len(found) > 300
    assert found == sorted(set(found))


def test_handedness_changes_only_the_shifts():
    rng = np.random.default_rng(0)
    cell = np.array([[3.0, 0.2, 0.1], [-1.0, 4.0, 0.3], [0.5, 1.0, 3.5]])
    positions = rng.uniform(size=(3, 3)) @ cell
    right = neighbour_list(positions, cell, PERIODIC, 5.0)
    left = neighbour_list(positions, cell[[1, 0, 2]], PERIODIC, 5.0)
    swapped = {(i, j, *s) for i, j, s in zip(left[1], left[0], left[2][:, [1, 0, 2]].tolist(), strict=True)}
    assert swapped == {(i, j, *s) for i, j, s in zip(right[1], right[0], right[2].tolist(), strict=True)}


@pytest.mark.parametrize("pbc", [PERIODIC, OPEN])
def test_no_neighbours_gives_empty_arrays(pbc):
    sender, receiver, shift = neighbour_list(np.zeros((1, 3)), 9.0 * np.eye(3), pbc, 4.0)
    assert (sender.shape, receiver.shape, shift.shape) == ((0,), (0,), (0, 3))
    assert {sender.dtype, receiver.dtype, shift.dtype} == {np.dtype(np.int64)}


def test_a_long_thin_cell_reaches_through_itself():
    positions = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 500.0]])
    structure = Structure(np.array([1, 1]), positions, np.diag([1.0, 1.0, 1000.0]), PERIODIC)
    # Lattice points of the plane within 6: 113, less the atom itself; for each of two atoms.
    assert len(listed(structure, 6.0)) == 2 * 112


def test_atoms_of_one_place_are_neighbours():
    structure = Structure(np.array([1, 1]), np.zeros((2, 3)), 5.0 * np.eye(3), PERIODIC)
    assert listed(structure, 1.0) == [(0, 1, (0, 0, 0)), (1, 0, (0, 0, 0))]


@pytest.mark.parametrize("distance", [1e2, 1e6, 1e9])
def test_fragments_far_apart(distance):
    positions = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [distance, 0.0, 0.0], [distance, 2.0, 0.0]])
    molecule = Structure(np.ones(4, dtype=np.int64), positions, np.zeros((3, 3)), OPEN)
    assert listed(molecule, 5.0) == [(i, j, (0, 0, 0)) for i, j in [(0, 1), (1, 0), (2, 3), (3, 2)]]


def test_an_atom_far_above_a_slab():
    cell = np.array([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.0]])
    positions = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1e6], [0.0, 0.0, 1e6 + 3.0]])
    slab = Structure(np.ones(3, dtype=np.int64), positions, cell, np.array([True, True, False]))
    pairs = {(i, j) for i, j, _ in listed(slab, 3.0)}
    assert pairs == {(0, 0), (1, 1), (2, 2), (1, 2), (2, 1)}


def test_an_atom_a_million_cells_away():
    positions = np.array([[0.0, 0.0, 0.0], [3e6 + 1.5, 0.0, 0.0]])
    structure = Structure(np.array([1, 1]), positions, 3.0 * np.eye(3), PERIODIC)
    assert listed(structure, 1.6) == sorted(
        [(0, 1, (-1000000, 0, 0)), (0, 1, (-1000001, 0, 0)), (1, 0, (1000000, 0, 0)), (1, 0, (1000001, 0, 0))]
    )


def test_what_cannot_be_searched_is_refused():
    with pytest.raises(InputError, match="not finite"):
        neighbour_list(np.array([[np.nan, 0.0, 0.0]]), np.eye(3), OPEN, 5.0)
    with pytest.raises(InputError, match="linearly dependent"):
        neighbour_list(np.zeros((1, 3)), np.ones((3, 3)), PERIODIC, 5.0)


@pytest.mark.parametrize(
    ("cell", "pbc", "degenerate"),
    [
        (np.eye(3), PERIODIC, False),
        (np.zeros((3, 3)), OPEN, False),
        (np.zeros((3, 3)), PERIODIC, True),
        (np.diag([3.0, 3.0, 0.0]), np.array([True, True, False]), False),
        (np.diag([3.0, 3.0, 0.0]), np.array([True, False, True]), True),
        (np.array([[1.0, 0, 0], [2.0, 0, 0], [0, 0, 1.0]]), np.array([True, True, False]), True),
        (np.diag([1e-3, 1e3, 1e6]), PERIODIC, False),
    ],
)
def test_degenerate(cell, pbc, degenerate):
    assert is_degenerate(cell, pbc) is degenerate
