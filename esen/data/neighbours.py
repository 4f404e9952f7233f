"""Which atoms are near which: the neighbour list, for any cell and any mix of periods."""

import numpy as np
from jaxtyping import Bool, Float64, Int64
from vesin import NeighborList

from esen.errors import InputError

SMALLEST_SEARCH = 1.0
"""In Å. The search divides space into boxes of about its radius; a tiny one would make millions."""


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
) -> tuple[Int64[np.ndarray, " E"], Int64[np.ndarray, " E"], Int64[np.ndarray, "E 3"]]:
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
    if not (np.isfinite(positions).all() and np.isfinite(cell).all()):
        raise InputError("positions or cell are not finite numbers")
    if is_degenerate(cell, pbc):
        raise InputError(f"the periodic rows of the cell {cell.tolist()} are zero or linearly dependent")
    box = _completed(cell, pbc)
    # vesin takes d < cutoff; we take d ≤ cutoff, so it searches a little further and we decide.
    search = max(cutoff * (1 + 1e-6), SMALLEST_SEARCH)
    pairs = NeighborList(cutoff=search, full_list=True)
    near = _without_gaps(positions, box[~pbc], 1.5 * search)
    i, j, s = pairs.compute(near, box, pbc, "ijS")
    receiver, sender, shift = i.astype(np.int64), j.astype(np.int64), s.astype(np.int64)
    # In this order of operations a pair and its reverse have the same distance to the last bit.
    vectors = (positions[sender] - positions[receiver]) + shift @ np.where(pbc[:, None], cell, 0.0)
    keep = np.linalg.norm(vectors, axis=1) <= cutoff
    receiver, sender, shift = receiver[keep], sender[keep], shift[keep]
    order = np.lexsort((shift[:, 2], shift[:, 1], shift[:, 0], sender, receiver))
    return sender[order], receiver[order], shift[order]


def _completed(cell: Float64[np.ndarray, "3 3"], pbc: Bool[np.ndarray, "3"]) -> Float64[np.ndarray, "3 3"]:
    """The cell, with orthonormal vectors across the periods in place of the rows that are no period."""
    if pbc.all():
        return np.ascontiguousarray(cell)
    box = cell.copy()
    box[~pbc] = np.linalg.svd(cell[pbc])[2][pbc.sum() :] if pbc.any() else np.eye(3)
    return box


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
