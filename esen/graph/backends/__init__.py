"""`graph.backend`: the library that finds the neighbours. The edges are bitwise identical for all of them.

A backend takes searches, as `esen.data.neighbours.prepare_search` returns them, and finds the pairs of each. It may
also return pairs slightly beyond the radius and pairs of an atom with itself; `edges_of` removes them.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import assert_never

from esen.data.neighbours import Edges, Pairs, Search, edges_of, find_pairs, prepare_search
from esen.data.structure import Structure
from esen.errors import InputError, first_line
from esen.graph.backends import nvalchemi, torch_cluster
from esen.recipe.model import Backend

logger = logging.getLogger(__name__)


def find_edges(structures: Sequence[Structure], cutoff: float, backend: Backend) -> list[Edges]:
    """Return the edges of each structure, as `neighbour_list`.

    Raises:
        InputError: as `neighbour_list`, with the file of the structure in the message, or as `require_backend`.
    """
    find = _finder(backend)
    searches = [_prepare(structure, cutoff) for structure in structures]
    return [edges_of(search, pairs) for search, pairs in zip(searches, find(searches), strict=True)]


def require_backend(backend: Backend) -> None:
    """Check that the backend is installed.

    Raises:
        InputError: it is not, or its installation is broken.
    """
    _finder(backend)


def usable_backend(backend: Backend, where: str) -> Backend:
    """Return the backend or, with a warning, vesin if it is not installed; the edges are the same.

    Args:
        backend: the backend of a recipe.
        where: name of the file that contains the recipe.
    """
    try:
        require_backend(backend)
    except InputError as error:
        logger.warning("%s: %s; vesin is used, which finds the same edges", where, str(error).split(";")[0])
        return "vesin"
    return backend


def _finder(backend: Backend) -> Callable[[Sequence[Search]], Iterable[Pairs]]:
    try:
        match backend:
            case "vesin":
                return partial(map, find_pairs)
            case "torch_cluster":
                return torch_cluster.make_finder()
            case "nvalchemi":
                return nvalchemi.make_finder()
            case _:
                assert_never(backend)
    except (
        ImportError,
        OSError,
        RuntimeError,
    ) as error:  # OSError: it was built for another version of torch
        raise InputError(
            f"model.graph.backend is {backend}, which cannot be imported ({first_line(error)});"
            f" {_HOW_TO_INSTALL[backend]}, or write model.graph.backend: vesin, which finds the same edges"
        ) from error


_HOW_TO_INSTALL: dict[Backend, str] = {
    "vesin": "reinstall esen",
    "torch_cluster": "run `make cluster`",
    "nvalchemi": "run `pip install nvalchemi-toolkit-ops`",
}


def _prepare(structure: Structure, cutoff: float) -> Search:
    try:
        return prepare_search(structure.positions, structure.cell, structure.pbc, cutoff)
    except InputError as error:
        raise InputError(f"{structure.source or 'structure'}: {error}") from error
