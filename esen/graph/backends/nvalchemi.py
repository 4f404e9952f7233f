"""`graph.backend: nvalchemi`: the batched cell list of NVIDIA's ALCHEMI toolkit, on a GPU if there is one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from esen.data.neighbours import Pairs, Search


def make_finder() -> Callable[[Sequence[Search]], Iterable[Pairs]]:
    """Return the function that finds the pairs of searches.

    Raises:
        ImportError: the toolkit is not installed, or torch is too old for it.
    """
    import nvalchemiops.torch.neighbors  # noqa: F401  # takes a second, and fails here or not at all

    return find_pairs_of_batch


def find_pairs_of_batch(searches: Sequence[Search]) -> Iterator[Pairs]:
    """Yield the pairs of each search. All searches must have the same radius."""
    if not searches:
        return
    receiver, sender, shift = (tensor.long().cpu().numpy() for tensor in _cell_list(searches))
    atoms = np.cumsum([0, *(len(search.positions) for search in searches)])
    edges = np.searchsorted(receiver, atoms)  # receivers ascend
    for first, (begin, end) in zip(atoms[:-1], pairwise(edges), strict=True):
        yield receiver[begin:end] - first, sender[begin:end] - first, shift[begin:end]


def _cell_list(searches: Sequence[Search]) -> tuple[Tensor, Tensor, Tensor]:
    """Return receiver, sender and shift of all pairs; atoms are numbered consecutively through the batch."""
    from nvalchemiops.torch.neighbors import NeighborOverflowError, batch_cell_list

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    structure = np.repeat(np.arange(len(searches)), [len(search.positions) for search in searches])

    def search_with_room_for(neighbours: int | None) -> tuple[Tensor, Tensor, Tensor]:
        pairs, _, shift = batch_cell_list(
            torch.from_numpy(np.concatenate([search.positions for search in searches])).to(device),
            searches[0].radius,
            torch.from_numpy(np.stack([search.box for search in searches])).to(device),
            torch.from_numpy(np.stack([search.pbc for search in searches])).to(device),
            torch.from_numpy(structure.astype(np.int32)).to(device),
            max_neighbors=neighbours,
            return_neighbor_list=True,
        )
        return pairs[0], pairs[1], shift

    try:
        return search_with_room_for(None)  # its own estimate
    except NeighborOverflowError as error:
        return search_with_room_for(error.num_neighbors)  # the largest number of neighbours of an atom
