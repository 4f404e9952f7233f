"""Band structure and density of states of one computation, as numbers in a file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from phonopy import Phonopy
from phonopy.phonon.band_structure import get_band_qpoints_by_seekpath

from esen.evaluate.phonons.crystal import Crystal, make_phonopy, quietly
from esen.study.materials.arrays import read_arrays, write_arrays

_POINTS = 101
_DOS_MESH = (20, 20, 20)


@dataclass(frozen=True, eq=False)
class Lines:
    """Straight lines through the Brillouin zone.

    Attributes:
        points: of each line, in units of the primitive reciprocal lattice.
        labels: of their ends: that of the first one's beginning, then of each line's end, and of the next one's
            beginning where the path jumps.
        connected: whether the next line begins where a line ends.
    """

    points: list[Float64[np.ndarray, "Q 3"]]
    labels: list[str]
    connected: list[bool]


@dataclass(frozen=True, eq=False)
class Bands:
    """Frequencies along lines, and how many states there are at each frequency.

    Attributes:
        distances: along the lines, in phonopy's units (1/Å without 2π); one after the other, as are the frequencies.
        frequencies: in THz, imaginary ones negative.
        starts: where each line begins in these.
        labels: as `Lines` has them.
        connected: likewise.
        levels: frequencies of the density of states, in THz.
        states: there, in 1/THz per primitive cell.
    """

    distances: Float64[np.ndarray, " Q"]
    frequencies: Float64[np.ndarray, "Q modes"]
    starts: np.ndarray
    labels: np.ndarray
    connected: np.ndarray
    levels: Float64[np.ndarray, " L"]
    states: Float64[np.ndarray, " L"]

    def lines(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Distances and frequencies of each line."""
        ends = [*self.starts[1:].tolist(), len(self.distances)]
        return [(self.distances[a:b], self.frequencies[a:b]) for a, b in zip(self.starts, ends, strict=True)]


def path_of(crystal: Crystal, symprec: float) -> Lines:
    """Seekpath's path for the crystal as it was given, so that all potentials run along the same one."""
    primitive = make_phonopy(crystal, symprec).primitive
    points, labels, connected = get_band_qpoints_by_seekpath(primitive, _POINTS)
    return Lines(points, [_plain(label) for label in labels], list(connected))


def bands_of(phonons: Phonopy, path: Lines) -> Bands:
    """Along the path of its own reciprocal lattice."""
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


def write_bands(path: Path, bands: Bands) -> None:
    """As NumPy's .npz, whole or not at all."""
    write_arrays(path, bands)


def read_bands(path: Path) -> Bands:
    """What was written.

    Raises:
        InputError: it is damaged.
    """
    return read_arrays(path, Bands)


def _plain(label: str) -> str:
    return label.replace("$\\mathrm{", "").replace("}$", "")
