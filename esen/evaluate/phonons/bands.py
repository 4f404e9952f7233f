"""Band structure and density of states."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import seekpath
from jaxtyping import Float64
from phonopy import Phonopy

from esen.evaluate.phonons.crystal import Crystal, make_phonopy, quietly

_POINTS = 101
_DOS_MESH = (20, 20, 20)


@dataclass(frozen=True, eq=False)
class Lines:
    """Straight lines through the Brillouin zone.

    Attributes:
        points: (Q, 3) points of each line, in units of the primitive reciprocal lattice.
        labels: names of the special points: where the first line begins, where each line ends, and where the next line
            begins if the path jumps there.
        connected: for each line, whether the next one begins where it ends.
    """

    points: list[np.ndarray]
    labels: list[str]
    connected: list[bool]


@dataclass(frozen=True, eq=False)
class Bands:
    """Frequencies along lines, and the density of states.

    Attributes:
        distances: along the lines, which follow each other, in phonopy's units (1/Å without 2π).
        frequencies: at these distances in THz, imaginary ones negative.
        starts: index at which each line begins.
        labels: as in `Lines`.
        connected: as in `Lines`.
        levels: frequencies of the density of states, in THz.
        states: density of states at these, in 1/THz per primitive cell.
    """

    distances: Float64[np.ndarray, " Q"]
    frequencies: Float64[np.ndarray, "Q modes"]
    starts: np.ndarray
    labels: np.ndarray
    connected: np.ndarray
    levels: Float64[np.ndarray, " L"]
    states: Float64[np.ndarray, " L"]

    def lines(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return distances and frequencies of each line."""
        ends = [*self.starts[1:].tolist(), len(self.distances)]
        return [(self.distances[a:b], self.frequencies[a:b]) for a, b in zip(self.starts, ends, strict=True)]


def path_of(crystal: Crystal, symprec: float) -> Lines:
    """Return seekpath's path for the given crystal, so that all potentials share one path.

    The points that seekpath names in its own standard cell are transformed to the basis of phonopy's primitive cell.
    """
    primitive = make_phonopy(crystal, symprec).primitive
    cell = (primitive.cell, primitive.scaled_positions, primitive.numbers)
    found = quietly(seekpath.get_path_orig_cell, cell, symprec=symprec)
    points, path = found["point_coords"], found["path"]
    lines = [np.linspace(points[start], points[end], _POINTS) for start, end in path]
    connected = [end == start for (_, end), (start, _) in pairwise(path)] + [False]
    labels = [path[0][0]]
    for (_, end), (start, _) in pairwise(path):
        labels += [end] if end == start else [end, start]
    return Lines(lines, [*map(_symbol, labels), _symbol(path[-1][1])], connected)


def bands_of(phonons: Phonopy, path: Lines) -> Bands:
    """Compute bands along a path, and the density of states on a mesh of 20 × 20 × 20."""
    quietly(phonons.run_band_structure, path.points, path_connections=path.connected)
    quietly(phonons.run_mesh, mesh=_DOS_MESH)
    quietly(phonons.run_total_dos)
    found, dos = phonons.band_structure, phonons.total_dos
    assert found is not None
    assert dos is not None
    lengths = [len(line) for line in found.distances]
    return Bands(
        distances=np.concatenate(found.distances),
        frequencies=np.concatenate(found.frequencies),
        starts=np.cumsum([0, *lengths[:-1]]),
        labels=np.array(path.labels),
        connected=np.array(path.connected),
        levels=np.array(dos.frequency_points, dtype=np.float64),
        states=np.array(dos.dos, dtype=np.float64),
    )


def _symbol(label: str) -> str:
    """Return a label of seekpath with Greek letters as matplotlib writes them."""
    name, _, index = label.partition("_")
    return f"$\\{name.capitalize()}{'_' if index else ''}{index}$" if len(name) > 1 else label
