import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from esen.data.checks import check_structure
from esen.data.structure import Structure
from esen.errors import InputError
from tests.strategies import structures

GOOD = Structure(
    numbers=np.array([12, 8]),
    positions=np.array([[0.0, 0.0, 0.0], [2.1, 0.0, 0.0]]),
    cell=4.2 * np.eye(3),
    pbc=np.array([True, True, True]),
    energy=-12.0,
    forces=np.zeros((2, 3)),
    stress=np.zeros((3, 3)),
    source="a.xyz, frame 3",
)


def with_value(array, index, value):
    changed = np.array(array, dtype=np.float64)
    changed[index] = value
    return changed


@given(structures(labels=True))
def test_what_is_drawn_is_accepted(structure):
    check_structure(structure, max_elements=27)


def test_unlabelled_is_accepted():
    check_structure(replace(GOOD, energy=None, forces=None, stress=None), max_elements=100)


BAD = [
    ({"numbers": np.zeros(0, int), "positions": np.zeros((0, 3)), "forces": None}, "there are no atoms"),
    ({"forces": np.zeros((3, 3))}, r"forces has shape \(3, 3\), expected \(2, 3\)"),
    ({"positions": np.zeros((2, 2))}, r"positions has shape"),
    ({"cell": np.ones(3)}, r"cell has shape"),
    ({"stress": np.zeros(6)}, r"stress has shape"),
    ({"positions": with_value(GOOD.positions, (1, 2), np.nan)}, "positions of atom 1 are not finite"),
    ({"forces": with_value(GOOD.forces, (0, 0), np.inf)}, "forces of atom 0 are not finite"),
    ({"cell": with_value(GOOD.cell, (0, 0), np.nan)}, "cell is not finite"),
    ({"energy": float("nan")}, "energy is not finite"),
    ({"stress": np.full((3, 3), np.nan)}, "stress is not finite"),
    ({"numbers": np.array([12, 0])}, "atom 1 has atomic number 0, which is no element"),
    ({"numbers": np.array([12, 119])}, "atom 1 has atomic number 119, which is no element"),
    ({"numbers": np.array([92, 8])}, r"U \(Z = 92\).*is 90; write model.max_elements: 93 or more"),
    ({"cell": np.zeros((3, 3))}, "the cell has no volume"),
    ({"cell": np.ones((3, 3))}, "the cell has no volume"),
    ({"positions": np.array([[0.0, 0, 0], [4.2, 0.01, 0]])}, "atoms 0 and 1 are 0.010 Å apart"),
    ({"cell": np.diag([4.2, 4.2, 0.04])}, "atom 0 and its own image are 0.040 Å apart"),
    ({"stress": np.diag([0.01, 0.01], k=1)[:3, :3]}, "the stress is not symmetric"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message for _, message in BAD])
def test_what_is_refused(change, message):
    with pytest.raises(InputError) as refusal:
        check_structure(replace(GOOD, **change), max_elements=90)
    text = str(refusal.value)
    assert text.startswith("a.xyz, frame 3: ")
    assert "\n" not in text
    assert re.search(message, text)


def test_a_zero_row_is_legal_where_there_is_no_period():
    slab = replace(GOOD, cell=np.diag([4.2, 4.2, 0.0]), pbc=np.array([True, True, False]))
    check_structure(slab, max_elements=90)
    with pytest.raises(InputError, match="volume"):
        check_structure(replace(slab, pbc=np.array([True, False, True])), max_elements=90)
