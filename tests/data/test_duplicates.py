"""Frames with the same geometry, however they are written."""

from dataclasses import replace

import numpy as np
import pytest

from esen.data.duplicates import are_among, geometry_keys
from esen.data.structure import Structure

BULK, SLAB, WIRE, MOLECULE = (
    (True, True, True),
    (True, True, False),
    (False, True, False),
    (False, False, False),
)


def frames(pbc: tuple[bool, bool, bool], count: int = 40) -> list[Structure]:
    rng = np.random.default_rng(0)
    return [
        Structure(
            rng.integers(1, 90, n),
            rng.uniform(-20, 20, (n, 3)),
            rng.normal(size=(3, 3)) + 8 * np.eye(3),
            np.array(pbc),
        )
        for n in rng.integers(3, 60, count).tolist()
    ]


def written_otherwise(s: Structure, rng: np.random.Generator) -> Structure:
    """The same frame with other images of its atoms, in another order, with six decimals."""
    order = rng.permutation(len(s))
    images = s.positions + (rng.integers(-3, 4, (len(s), 3)) * s.pbc) @ s.cell
    return replace(
        s, numbers=s.numbers[order], positions=np.round(images[order], 6), cell=np.round(s.cell, 8)
    )


def displaced(s: Structure, by: float) -> Structure:
    return replace(s, positions=s.positions + np.outer(np.eye(len(s))[1], [by, 0, 0]))


@pytest.mark.parametrize("pbc", [BULK, SLAB, WIRE, MOLECULE])
def test_the_same_geometry_is_found_and_others_are_not(pbc: tuple[bool, bool, bool]) -> None:
    known, rng = frames(pbc), np.random.default_rng(1)
    keys = geometry_keys(known)
    assert len(keys) == len(known)
    assert are_among([written_otherwise(s, rng) for s in known], keys).all()
    assert not are_among([displaced(s, 0.01) for s in known], keys).any()
    assert not are_among([replace(s, positions=-s.positions) for s in known], keys).any()
    assert not are_among([replace(s, numbers=s.numbers + 1) for s in known], keys).any()
    if any(pbc):
        assert not are_among(
            [replace(s, cell=1.001 * s.cell, positions=1.001 * s.positions) for s in known], keys
        ).any()


def test_a_molecule_may_be_elsewhere_and_its_cell_means_nothing() -> None:
    known = frames(MOLECULE)
    moved = [
        replace(s, positions=s.positions + np.array([3.0, -1.0, 7.0]), cell=np.zeros((3, 3))) for s in known
    ]
    assert are_among(moved, geometry_keys(known)).all()


def test_repeated_frames_have_one_key_and_nothing_is_among_nothing() -> None:
    known = frames(BULK, 3)
    assert len(geometry_keys([*known, *known])) == 3
    assert not are_among(known, geometry_keys([])).any()
    assert len(are_among([], geometry_keys(known))) == 0
