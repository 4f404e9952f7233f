"""The neighbour list, for any cell and any combination of periodic directions.

A search has three steps. `prepare_search` brings atoms and cell into a form that any algorithm accepts. An algorithm
then finds the pairs up to slightly more than the cutoff: vesin here, others in `esen.graph.backends`. Finally,
`edges_of` decides which pairs are edges, and sorts them. Only this step uses the exact cutoff, so that the edges are
bitwise identical for all algorithms.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from esen.errors import InputError

SMALLEST_SEARCH = 1.0
"""Å. The search divides space into boxes of about its radius; a tiny radius would make millions of boxes."""

MOST_PAIRS, MOST_PAIRS_PER_ATOM, MOST_IMAGES, SHORTEST = 1e8, 1e6, 1e7, 0.01
"""A search is refused if it would find more pairs, look at more images of the cell, or if a period is shorter (Å).
The densest matter has some hundred pairs per atom."""
_BYTES_PER_PAIR = 200

Edges = tuple[Int64[np.ndarray, " E"], Int64[np.ndarray, " E"], Int64[np.ndarray, "E 3"]]
"""Sender, receiver and shift, sorted by receiver, then sender, then shift."""

Pairs = tuple[Int64[np.ndarray, " P"], Int64[np.ndarray, " P"], Int64[np.ndarray, "P 3"]]
"""Receiver, sender and shift of a `Search`, each pair once, in any order; pairs of an atom with itself are allowed."""


@dataclass(frozen=True, eq=False)
class Search:
    """The task of an algorithm: find every pair with |r_sender + shift·box − r_receiver| ≤ radius.

    Attributes:
        positions: in Å, inside the box up to rounding.
        box: rows of full rank in Å, periodic or not.
        pbc: which rows are periodic.
        radius: in Å, slightly more than the cutoff.
        home: number of whole lattice vectors by which each atom was moved into the box.
        original: the given positions.
        periods: the given cell, with zero rows along directions that are not periodic.
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
    """Return whether the periodic rows of `cell` are zero or linearly dependent."""
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
    """Return every ordered pair of atoms with |r_sender + shift·cell − r_receiver| ≤ cutoff, including images.

    An atom is its own neighbour only through a non-zero shift. The cell may be left-handed, smaller than the
    cutoff, or zero along directions that are not periodic; atoms may lie outside it.

    Args:
        positions: in Å.
        cell: rows are lattice vectors in Å. Rows that are not periodic are not used.
        pbc: which rows are periodic.
        cutoff: in Å.

    Returns:
        Sender, receiver and shift, sorted by receiver, then sender, then shift.

    Raises:
        InputError: positions or cell are not finite, the periodic rows are linearly dependent, or the atoms are so
            dense that the pairs would not fit into memory.
    """
    search = prepare_search(positions, cell, pbc, cutoff)
    return edges_of(search, find_pairs(search))


def prepare_search(
    positions: Float64[np.ndarray, "N 3"],
    cell: Float64[np.ndarray, "3 3"],
    pbc: Bool[np.ndarray, "3"],
    cutoff: float,
) -> Search:
    """Return atoms inside a box of full rank; arguments are those of `neighbour_list`.

    Raises:
        InputError: positions or cell are not finite, the periodic rows are linearly dependent, or the atoms are so
            dense that the pairs would not fit into memory.
    """
    if not (np.isfinite(positions).all() and np.isfinite(cell).all()):
        raise InputError("positions or cell are not finite numbers")
    if is_degenerate(cell, pbc):
        raise InputError(f"the periodic rows of the cell {cell.tolist()} are zero or linearly dependent")
    # Libraries use d < cutoff or d ≤ cutoff and round differently: they search further, and `edges_of` decides.
    radius = max(cutoff * (1 + 1e-6), SMALLEST_SEARCH)
    axes = _open_axes(cell, pbc)
    near = _without_gaps(positions, axes, 1.5 * radius)
    heights = near @ axes.T  # (N, K)
    low, high = (heights.min(axis=0), heights.max(axis=0)) if len(near) else np.zeros((2, len(axes)))
    near = near - low @ axes
    box = np.where(pbc[:, None], cell, 0.0)
    box[~pbc] = axes * (high - low + radius)[:, None]
    _refuse_too_many(len(near), box, pbc, radius)
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


def _refuse_too_many(
    atoms: int, box: Float64[np.ndarray, "3 3"], pbc: Bool[np.ndarray, "3"], radius: float
) -> None:
    """Refuse a search whose pairs would not fit into memory, by the mean density of the atoms in the box.

    Raises:
        InputError: naming the estimated number of pairs and their memory.
    """
    volume = abs(np.linalg.det(box))
    density = atoms / volume if volume else np.inf
    pairs = atoms * density * 4 / 3 * np.pi * radius**3
    reach = radius * np.linalg.norm(np.linalg.inv(box), axis=0) if volume else np.full(3, np.inf)
    images = float(np.prod(2 * np.ceil(reach[pbc]) + 1))
    shortest = float(np.linalg.norm(box[pbc], axis=1).min(initial=np.inf))
    too_many = pairs > MOST_PAIRS or pairs > MOST_PAIRS_PER_ATOM * atoms or images > MOST_IMAGES
    if atoms and (too_many or shortest < SHORTEST):
        raise InputError(
            f"the cell has a volume of {volume:.3g} Å³ and a shortest row of {shortest:.3g} Å for {atoms} atoms, so"
            f" that there are about {pairs:.2g} pairs within {radius:.3g} Å ({pairs * _BYTES_PER_PAIR / 1e9:.2g} GB) in"
            f" {images:.2g} images of the cell; is the cell in Å, and not skewed?"
        )


def find_pairs(search: Search) -> Pairs:
    """Find the pairs of a search by vesin."""
    # It imports torch if it is installed, which takes seconds that most data commands do not need.
    from vesin import NeighborList

    neighbours = NeighborList(cutoff=search.radius, full_list=True)
    i, j, s = neighbours.compute(search.positions, search.box, search.pbc, "ijS")
    return i.astype(np.int64), j.astype(np.int64), s.astype(np.int64)


def edges_of(search: Search, pairs: Pairs) -> Edges:
    """Return the pairs within the cutoff, sorted.

    Distances are computed again from the given positions. Each depends only on its own pair, not on which other
    pairs were found or in which order.
    """
    receiver, sender, shift = pairs
    if search.home.any():
        shift = shift + search.home[receiver] - search.home[sender]
    square = np.zeros(len(receiver))
    steps = np.ascontiguousarray(shift.T, dtype=np.float64)
    for axis, x in enumerate(np.ascontiguousarray(search.original.T)):
        a, b, c = (step * period for step, period in zip(steps, search.periods[:, axis], strict=True))
        # With this order of operations a pair and its reverse have bitwise the same distance. A matrix product might
        # round differently for different rows.
        square += np.square((x[sender] - x[receiver]) + (a + b + c))
    keep = np.sqrt(square) <= search.cutoff
    itself = np.flatnonzero(receiver == sender)
    keep[itself] &= shift[itself].any(axis=1)
    receiver, sender, shift = receiver[keep], sender[keep], shift[keep]
    order = np.lexsort((shift[:, 2], shift[:, 1], shift[:, 0], sender, receiver))
    return sender[order], receiver[order], shift[order]


def _open_axes(cell: Float64[np.ndarray, "3 3"], pbc: Bool[np.ndarray, "3"]) -> Float64[np.ndarray, "K 3"]:
    """Return orthonormal vectors perpendicular to the periodic rows, one per row that is not periodic."""
    if pbc.all():
        return np.zeros((0, 3))
    return np.linalg.svd(cell[pbc])[2][pbc.sum() :] if pbc.any() else np.eye(3)


def _without_gaps(
    positions: Float64[np.ndarray, "N 3"], axes: Float64[np.ndarray, "K 3"], widest: float
) -> Float64[np.ndarray, "N 3"]:
    """Shorten empty gaps along the non-periodic `axes` to `widest`.

    No pair closer than `widest` is changed. Otherwise the search would cross the vacuum box by box, and
    vesin 0.6 ends the whole process if two fragments are about 10⁶ Å apart.
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
