"""Hypothesis strategies: structures of every periodicity, and rotations."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from hypothesis import strategies as st
from jaxtyping import Bool, Float64
from scipy.spatial.transform import Rotation

from esen.data.structure import Structure

Periodicity = Literal["crystal", "slab", "wire", "molecule"]

ALL_PERIODICITIES: tuple[Periodicity, ...] = ("crystal", "slab", "wire", "molecule")
SPACING = 2.5
"""Between lattice sites, in Å, before they are strained and jittered."""
JITTER = 0.1
"""Atoms leave their sites by at most this fraction of the spacing along each row of the cell."""
STRAIN = 0.13
"""Largest element of the strain, so that its 2-norm is below 0.4."""
CLOSEST = SPACING * (1 - 2 * JITTER) * (1 - 3 * STRAIN)
"""No two atoms of `structures` are closer than this, in Å, images included."""


def _floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, width=64)


@st.composite
def rotations(draw: st.DrawFn) -> Float64[np.ndarray, "3 3"]:
    """Proper rotations: any, by a random quaternion, or one of those that put axes on axes."""
    quaternion = draw(st.tuples(*[_floats(-1, 1)] * 4).filter(lambda q: sum(c * c for c in q) > 0.01))
    if draw(st.booleans()):
        # the scalar comes last
        quaternion = draw(
            st.sampled_from([(0, 0, 1, 1), (1, 0, 0, 1), (0, 1, 0, 1), (1, 1, 1, 1), (1, 0, 0, 0)])
        )
    return np.asarray(Rotation.from_quat(quaternion).as_matrix())


@st.composite
def cells(draw: st.DrawFn, repeats: tuple[int, int, int]) -> Float64[np.ndarray, "3 3"]:
    """A triclinic cell of `repeats` sites along its rows, turned at random, right- or left-handed."""
    strain = np.array(draw(st.lists(_floats(-STRAIN, STRAIN), min_size=9, max_size=9))).reshape(3, 3)
    rows = np.diag(repeats) * SPACING @ (np.eye(3) + strain)
    if draw(st.booleans()):
        rows[:, 0] *= -1
    return rows @ draw(rotations())


@st.composite
def structures(
    draw: st.DrawFn,
    *,
    max_atoms: int = 4,
    elements: Sequence[int] = (1, 6, 8, 12, 26),
    periodicities: Sequence[Periodicity] = ALL_PERIODICITIES,
    outside: bool = True,
    labels: bool = False,
) -> Structure:
    """A structure whose atoms keep `CLOSEST` apart; its cell may be left-handed and smaller than any cutoff.

    Args:
        draw: given by Hypothesis.
        max_atoms: at most; at least one.
        elements: atomic numbers to choose from.
        periodicities: crystal (three periods), slab (two), wire (one), molecule (none).
        outside: whether atoms may lie some cells outside.
        labels: whether to add an energy, forces and, for crystals, a symmetric stress, all meaningless.
    """
    repeats = draw(st.sampled_from([(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 2, 2), (2, 2, 2), (1, 1, 3)]))
    cell, pbc = draw(cells(repeats)), draw(_periods(periodicities))
    sites = [(i, j, k) for i in range(repeats[0]) for j in range(repeats[1]) for k in range(repeats[2])]
    chosen = draw(st.lists(st.sampled_from(sites), min_size=1, max_size=max_atoms, unique=True))
    count = len(chosen)
    jitter = np.array(draw(st.lists(_floats(-JITTER, JITTER), min_size=3 * count, max_size=3 * count)))
    fractional = (np.array(chosen) + jitter.reshape(count, 3)) / repeats
    if outside:
        moves = draw(st.lists(st.integers(-2, 2), min_size=3 * count, max_size=3 * count))
        fractional = fractional + np.array(moves).reshape(count, 3)
    positions = fractional @ cell
    if draw(st.booleans()):
        cell[~pbc] = 0.0
    numbers = np.array(
        draw(st.lists(st.sampled_from(elements), min_size=count, max_size=count)), dtype=np.int64
    )
    if not labels:
        return Structure(numbers, positions, cell, pbc, source="drawn")
    values = np.array(draw(st.lists(_floats(-5, 5), min_size=3 * count + 10, max_size=3 * count + 10)))
    tensor = values[1:10].reshape(3, 3) / 100
    return Structure(
        numbers=numbers,
        positions=positions,
        cell=cell,
        pbc=pbc,
        energy=float(values[0]),
        forces=values[10:].reshape(count, 3),
        stress=(tensor + tensor.T) / 2 if pbc.all() else None,
        source="drawn",
    )


@st.composite
def _periods(draw: st.DrawFn, periodicities: Sequence[Periodicity]) -> Bool[np.ndarray, "3"]:
    periods = {"crystal": 3, "slab": 2, "wire": 1, "molecule": 0}[draw(st.sampled_from(periodicities))]
    return np.array(draw(st.permutations([axis < periods for axis in range(3)])), dtype=np.bool_)
