"""Which atoms are near which: the neighbour list, for any cell and any mix of periods.

A search has three steps. `prepare_search` brings atoms and cell into a form that any algorithm can take. Some
algorithm then finds the pairs up to a little more than the cutoff: vesin's here, others in `esen.graph.backends`.
Last, `edges_of` decides which of them are edges, and in which order. Only this step sees the exact cutoff, so that
the edges are the same to the last bit whatever found the pairs.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from esen.errors import InputError

SMALLEST_SEARCH = 1.0
"""In Å. The search divides space into boxes of about its radius; a tiny one would make millions."""

Edges = tuple[Int64[np.ndarray, " E"], Int64[np.ndarray, " E"], Int64[np.ndarray, "E 3"]]
"""Sender, receiver and shift, sorted by receiver, then sender, then shift."""

Pairs = tuple[Int64[np.ndarray, " P"], Int64[np.ndarray, " P"], Int64[np.ndarray, "P 3"]]
"""Receiver, sender and shift of a `Search`, each pair once, in any order; an atom with itself may be there too."""


@dataclass(frozen=True, eq=False)
class Search:
    """What an algorithm searches: every pair with |r_sender + shift·box − r_receiver| ≤ radius.

    Attributes:
        positions: in Å, inside the box up to rounding.
        box: rows of full rank, in Å, periods or not.
        pbc: which rows are periods.
        radius: in Å, a little more than the cutoff.
        home: by how many whole periods each atom was moved into the box.
        original: the positions that were given.
        periods: the cell that was given, zero where there is no period.
        cutoff: in Å.
    """

    positions: Float64[np.ndarray, "N 3"]
    box: Float64[np.ndarray, "3 3"]
    pbc: Bool[np.ndarray, "3"]
    radius: float
    home: Int64[np.ndarray, "N 3"]
    original: Float64[np.ndarray, "N 3"]
    periods: Float64[np.ndarray, "3 3"]
    cutoff: float


def is_degenerate(cell: Float64[np.ndarray, "3 3"], pbc: Bool[np.ndarray, "3"]) -> bool:
    """Whether the periodic rows of `cell` are zero or linearly dependent, so that they span no period."""
    rows = cell[pbc]
    lengths = np.linalg.norm(rows, axis=1)
    if not len(rows):
        return False
    if lengths.min() < 1e-6:
        return True
    return bool(np.linalg.svd(rows / lengths[:, None], compute_uv=False)[-1] < 1e-6)


def neighbour_list(
    positions: Float64[np.ndarray, "N 3"],
    cell: Float64[np.ndarray, "3 3"],
    pbc: Bool[np.ndarray, "3"],
    cutoff: float,
) -> Edges:
    """Every ordered pair of atoms with |r_sender + shift·cell − r_receiver| ≤ cutoff, images included.

    An atom is its own neighbour only through a non-zero shift. The cell may be left-handed, smaller than the
    cutoff, or zero along directions that are no period; atoms may lie outside it.

    Args:
        positions: in Å.
        cell: rows are lattice vectors, in Å. Rows that are no period are not used.
        pbc: which rows are periods.
        cutoff: in Å.

    Returns:
        Sender, receiver and shift, sorted by receiver, then sender, then shift.

    Raises:
        InputError: positions or cell are not finite, or the periodic rows are linearly dependent.
    """
    search = prepare_search(positions, cell, pbc, cutoff)
    return edges_of(search, find_pairs(search))


def prepare_search(
    positions: Float64[np.ndarray, "N 3"],
    cell: Float64[np.ndarray, "3 3"],
    pbc: Bool[np.ndarray, "3"],
    cutoff: float,
) -> Search:
    """Atoms inside a box of full rank, whatever was given; arguments as of `neighbour_list`.

    Raises:
        InputError: positions or cell are not finite, or the periodic rows are linearly dependent.
    """
    if not (np.isfinite(positions).all() and np.isfinite(cell).all()):
        raise InputError("positions or cell are not finite numbers")
    if is_degenerate(cell, pbc):
        raise InputError(f"the periodic rows of the cell {cell.tolist()} are zero or linearly dependent")
    # Libraries differ in d < cutoff or d ≤ cutoff, and round differently: they search further, `edges_of` decides.
    radius = max(cutoff * (1 + 1e-6), SMALLEST_SEARCH)
    axes = _open_axes(cell, pbc)
    near = _without_gaps(positions, axes, 1.5 * radius)
    heights = near @ axes.T  # (N, K)
    low, high = (heights.min(axis=0), heights.max(axis=0)) if len(near) else np.zeros((2, len(axes)))
    near = near - low @ axes
    box = np.where(pbc[:, None], cell, 0.0)
    box[~pbc] = axes * (high - low + radius)[:, None]
    home = np.where(pbc, np.floor(near @ np.linalg.inv(box)), 0.0)
    return Search(
        positions=near - home @ box,
        box=box,
        pbc=pbc,
        radius=radius,
        home=home.astype(np.int64),
        original=positions,
        periods=np.where(pbc[:, None], cell, 0.0),
        cutoff=cutoff,
    )


def find_pairs(search: Search) -> Pairs:
    """The pairs of a search, by vesin."""
    from vesin import (
        NeighborList,
    )  # it imports torch where there is one: seconds, which most data commands can save

    neighbours = NeighborList(cutoff=search.radius, full_list=True)
    i, j, s = neighbours.compute(search.positions, search.box, search.pbc, "ijS")
    return i.astype(np.int64), j.astype(np.int64), s.astype(np.int64)


def edges_of(search: Search, pairs: Pairs) -> Edges:
    """The pairs that are no further apart than the cutoff, in order.

    Distances are computed anew, from what was given. Every number depends on its own pair alone: not on which
    other pairs were found, nor in which order.
    """
    receiver, sender, shift = pairs
    if search.home.any():
        shift = shift + search.home[receiver] - search.home[sender]
    square = np.zeros(len(receiver))
    steps = np.ascontiguousarray(shift.T, dtype=np.float64)
    for axis, x in enumerate(np.ascontiguousarray(search.original.T)):
        a, b, c = (step * period for step, period in zip(steps, search.periods[:, axis], strict=True))
        # In this order of operations a pair and its reverse have the same distance to the last bit. A matrix product
        # might round according to a row's place in the matrix.
        square += np.square((x[sender] - x[receiver]) + (a + b + c))
    keep = np.sqrt(square) <= search.cutoff
    itself = np.flatnonzero(receiver == sender)
    keep[itself] &= shift[itself].any(axis=1)
    receiver, sender, shift = receiver[keep], sender[keep], shift[keep]
    order = np.lexsort((shift[:, 2], shift[:, 1], shift[:, 0], sender, receiver))
    return sender[order], receiver[order], shift[order]


def _open_axes(cell: Float64[np.ndarray, "3 3"], pbc: Bool[np.ndarray, "3"]) -> Float64[np.ndarray, "K 3"]:
    """Orthonormal vectors across the periods, one for each row that is no period."""
    if pbc.all():
        return np.zeros((0, 3))
    return np.linalg.svd(cell[pbc])[2][pbc.sum() :] if pbc.any() else np.eye(3)


def _without_gaps(
    positions: Float64[np.ndarray, "N 3"], axes: Float64[np.ndarray, "K 3"], widest: float
) -> Float64[np.ndarray, "N 3"]:
    """Positions with empty gaps along the non-periodic `axes` shortened to `widest`.

    No pair closer than `widest` is changed. Without this the search crosses the vacuum box by box, and
    vesin 0.6 ends the whole process when two fragments are about 10⁶ Å apart.
    """
    if not len(positions):
        return positions
    for axis in axes:
        height = positions @ axis
        order = np.argsort(height, kind="stable")
        excess = np.maximum(np.diff(height[order]) - widest, 0.0)
        if excess.any():
            drop = np.empty_like(height)
            drop[order] = np.concatenate([[0.0], np.cumsum(excess)])
            positions = positions - drop[:, None] * axis
    return positions
