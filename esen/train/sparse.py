"""Frames in which no atom sees another, from which a network learns no more than the energies of lone atoms."""

from collections.abc import Callable, Sequence

import numpy as np

from esen.data.neighbours import neighbour_list
from esen.data.structure import Structure
from esen.recipe import Recipe

_LOOKED_AT = 1000
"""Frames, evenly spread, after which the others are taken to be like them."""


def warn_without_edges(recipe: Recipe, frames: Sequence[Structure], report: Callable[[str], None]) -> None:
    """Tell where no frame to train on has two atoms within the cutoff. One that has ends the search.

    Args:
        recipe: whose cutoff counts.
        frames: to train on.
        report: takes the warning.
    """
    cutoff = recipe.model.cutoff
    places = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), _LOOKED_AT)).round().astype(int))
    for place in places.tolist():
        frame = frames[place]
        senders, _, _ = neighbour_list(frame.positions, frame.cell, frame.pbc, cutoff)
        if len(senders):
            return
    report(
        f"warning: no two atoms of the {len(frames)} frames to train on are within model.cutoff, {cutoff:g} Å:"
        " forces cannot be learned; is the cutoff in Å, and are the positions?"
    )
