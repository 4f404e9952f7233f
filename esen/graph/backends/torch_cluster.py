"""`graph.backend: torch_cluster`: a k-d tree of all periodic images near the structure, searched around every atom.

torch-cluster does not support periodic boundaries, so the images are explicit atoms. It runs on the CPU here.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from esen.data.neighbours import Pairs, Search


@runtime_checkable
class Radius(Protocol):
    """`torch_cluster.radius`."""

    def __call__(
        self, x: Float64[Tensor, "M 3"], y: Float64[Tensor, "N 3"], r: float, *, max_num_neighbors: int
    ) -> Int64[Tensor, "2 P"]:
        """Return indices into y and x of every pair closer than r.

        Args:
            x: positions of neighbours.
            y: positions of centres.
            r: radius in Å.
            max_num_neighbors: largest number of neighbours of a centre; any others are dropped.
        """
        ...


def make_finder() -> Callable[[Sequence[Search]], Iterable[Pairs]]:
    """Return the function that finds the pairs of searches.

    Raises:
        ImportError: torch-cluster is not installed.
        OSError: it was built for another version of torch.
    """
    from torch_cluster import radius

    return partial(map, partial(pairs_by_images, radius=radius))


def pairs_by_images(search: Search, radius: Radius) -> Pairs:
    """Return the pairs of a search, in which every image near one of the atoms is an atom of its own."""
    sender, shift = images_around(search)
    images = search.positions[sender] + shift @ search.box
    receiver, image = radius(
        torch.from_numpy(images),
        torch.from_numpy(search.positions),
        search.radius,
        # With a lower limit, neighbours other than the farthest might be dropped. The limit costs no memory.
        max_num_neighbors=len(images),
    ).numpy()
    return receiver, sender[image], shift[image]


def images_around(search: Search) -> tuple[Int64[np.ndarray, " M"], Int64[np.ndarray, "M 3"]]:
    """Return the images within the radius of the slab between the outermost atoms, along every periodic axis.

    In fractional coordinates along row k of the box, the radius is radius / height_k = radius · ‖column k of box⁻¹‖.
    The axes are processed one after the other, and images that are too far along one axis are not continued along the
    next, so that a large cell has a thin shell of images instead of 26 copies.

    Returns:
        Index of the atom of each image, and its shift in whole rows of the box.
    """
    inverse = np.linalg.inv(search.box)
    fractional = search.positions @ inverse
    reach = search.radius * np.linalg.norm(inverse, axis=0)
    atom = np.arange(len(fractional))
    shift = np.zeros((len(fractional), 3), dtype=np.int64)
    if not len(fractional):
        return atom, shift
    for axis in np.flatnonzero(search.pbc).tolist():
        low, high = fractional[:, axis].min() - reach[axis], fractional[:, axis].max() + reach[axis]
        first = np.ceil(low - fractional[atom, axis]).astype(np.int64)
        count = np.floor(high - fractional[atom, axis]).astype(np.int64) - first + 1
        begin = np.cumsum(count) - count  # place of the first image of each among the new ones
        steps = np.arange(count.sum()) + np.repeat(first - begin, count)
        atom, shift = np.repeat(atom, count), np.repeat(shift, count, axis=0)
        shift[:, axis] = steps
    return atom, shift
