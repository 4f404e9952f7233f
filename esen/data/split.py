"""Hold validation frames out of the training frames."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from esen.errors import InputError

T = TypeVar("T")


def hold_out(items: Sequence[T], fraction: float, seed: int) -> tuple[list[T], list[T]]:
    """Return the items that are kept and those that are held out, each in their given order.

    Args:
        items: at least two.
        fraction: fraction of the items to hold out; at least one item is held out and one is kept.
        seed: seed of the random choice.

    Raises:
        InputError: fewer than two items.

    >>> hold_out("abcde", 0.2, seed=0)
    (['a', 'b', 'd', 'e'], ['c'])
    """
    if len(items) < 2:
        raise InputError(
            f"data.train: {len(items)} frame cannot be divided; give more frames, or data.validation"
        )
    count = min(max(round(fraction * len(items)), 1), len(items) - 1)
    chosen = set(np.random.default_rng(seed).permutation(len(items))[:count].tolist())
    kept = [item for index, item in enumerate(items) if index not in chosen]
    return kept, [item for index, item in enumerate(items) if index in chosen]
