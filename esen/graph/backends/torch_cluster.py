"""`graph.backend: torch_cluster`: a k-d tree of all images that can matter, searched from every atom.

torch-cluster knows no periods, so they are made explicit. It runs on the CPU here.
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
        """Indices into y and x of every pair closer than r.

        Args:
            x: neighbours.
            y: centres.
            r: in Å.
            max_num_neighbors: more neighbours of a centre than this are dropped, whichever they are.
        """
        ...


def make_finder() -> Callable[[Sequence[Search]], Iterable[Pairs]]:
    """What finds the pairs of searches.

    Raises:
        ImportError: torch-cluster is not installed.
        OSError: it was built for another torch.
    """
    from torch_cluster import radius

    return partial(map, partial(pairs_by_images, radius=radius))


def pairs_by_images(search: Search, radius: Radius) -> Pairs:
    """The pairs of a search: every image of the atoms that can be near one of them is an atom of its own."""
    sender, shift = images_around(search)
    images = search.positions[sender] + shift @ search.box
    receiver, image = radius(
        torch.from_numpy(images),
        torch.from_numpy(search.positions),
        search.radius,
        # The nearest would not be the ones that are kept, so that nothing may be dropped. It costs no memory.
        max_num_neighbors=len(images),
    ).numpy()
    return receiver, sender[image], shift[image]


def images_around(search: Search) -> tuple[Int64[np.ndarray, " M"], Int64[np.ndarray, "M 3"]]:
    """The images no further than the radius from the slab between the outermost atoms, along every period.

    In units of row k, the planes of the box are 1 apart, so the radius is radius / height_k = radius · ‖(box⁻¹)_k‖,
    columns. One axis after the other is taken, and an image that is too far along one is not made along the next:
    a large cell gets a thin shell of images, not 26 copies.

    Returns:
        Atom of each image, and its shift in whole rows of the box.
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
        begin = np.cumsum(count) - count  # where the images of each stand among the new ones
        steps = np.arange(count.sum()) + np.repeat(first - begin, count)
        atom, shift = np.repeat(atom, count), np.repeat(shift, count, axis=0)
        shift[:, axis] = steps
    return atom, shift
