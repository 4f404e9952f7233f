"""Validation frames held out of the training frames."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from esen.errors import InputError

T = TypeVar("T")


def hold_out(items: Sequence[T], fraction: float, seed: int) -> tuple[list[T], list[T]]:
    """The kept and the held-out items, each in their given order; the same for the same seed.

    Args:
        items: at least two.
        fraction: of them is held out, but at least one and never all.
        seed: of the choice.

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
