"""Which crystals are computed: from what the user names to inputs that are read one at a time."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from esen.data.structure import Structure
from esen.data.structures import read_named_structures
from esen.data.supercells import parse_supercell
from esen.errors import InputError
from esen.evaluate.phonons.crystal import Crystal, Known
from esen.evaluate.phonons.inputs import (
    crystal_of_structure,
    crystal_of_yaml,
    folder_crystals,
    is_phonopy_yaml,
)
from esen.evaluate.phonons.properties import measure
from esen.evaluate.phonons.protocol import PhononProtocol
from esen.study.materials.manifest import geometry_digest
from esen.study.materials.words import first_few
from esen.study.phonons.record import values_of
from esen.study.potentials import digest, distinct

logger = logging.getLogger(__name__)

MIN_WIDTH = 12.0
"""Å; of supercells that are not given."""
FIRST = ":1"
"""The frames of a file that are taken if none are named."""


@dataclass(frozen=True)
class Input:
    """A crystal that is read when it is its turn: a benchmark has thousands.

    Attributes:
        name: unique among those of a run.
        source: the file.
        read: reads it; raises InputError where it cannot be used. It can be sent to another process.
        hashed: gives by what its content is known again; a file is read for it.
        supercell: how it is chosen, in words.
        known: reference values of an index.
        indexed: whether there is an index, which then is the only reference.
    """

    name: str
    source: str
    read: Callable[[], Crystal]
    hashed: Callable[[], str]
    supercell: str
    known: Known = field(default_factory=Known)
    indexed: bool = False

    def load(self) -> Crystal:
        """The crystal.

        Raises:
            InputError: the file cannot be used.
        """
        return self.read()

    @property
    def described(self) -> str:
        """What its numbers depend on: the file and its content, and the supercell."""
        return f"{self.source} ({self.hashed()}), supercell: {self.supercell}"


def choose_inputs(
    inputs: Sequence[str],
    protocol: PhononProtocol,
    *,
    supercell: str | None = None,
    min_width: float | None = None,
    frames: str = FIRST,
) -> list[Input]:
    """The crystals of files and folders, in their order.

    Args:
        inputs: structure files, phonopy's yaml (packed or not), folders of the MDR benchmark.
        protocol: how symmetry is found, and how reference values are measured.
        supercell: of structure files, N,N,N or nine numbers; None: as large as `min_width` asks for.
        min_width: of supercells in Å; None: 12.
        frames: of each structure file, a Python slice.

    Raises:
        InputError: an input is missing or cannot be read, or an option is wrong or for none of the inputs.
    """
    matrix = None if supercell is None else parse_supercell(supercell)
    width = MIN_WIDTH if min_width is None else min_width
    if not 0 < width < np.inf:
        raise InputError(f"--min-width {width:g}: expected a length above 0 in Å, such as 12")
    if matrix is not None and min_width is not None:
        raise InputError("--min-width: the supercell is given by --supercell; leave one of them out")
    found: list[Input] = []
    structures = False
    for text in inputs:
        path = Path(text).expanduser()
        if not path.exists():
            raise InputError(
                f"{text}: no such file; expected a structure, a phonopy yaml, or a folder of the MDR benchmark"
            )
        if path.is_dir():
            files, index = folder_crystals(path)
            found += [_of_yaml(file, protocol, index.get(_name(file)), indexed=bool(index)) for file in files]
            _tell_of_index(path, {_name(file) for file in files}, set(index))
        elif is_phonopy_yaml(path):
            found.append(_of_yaml(path, protocol))
        else:
            structures = True
            found += [
                _of_structure(structure, name, matrix, width, protocol)
                for name, structure in read_named_structures(path, frames)
            ]
    _refuse_idle(structures, matrix is not None, min_width is not None, frames)
    names = distinct([one.name for one in found])
    return [replace(one, name=name) for one, name in zip(found, names, strict=True)]


def with_reference_values(crystal: Crystal, protocol: PhononProtocol) -> Crystal:
    """The crystal with what its force sets give, where nothing else is known of it."""
    if crystal.reference is None or crystal.known != Known():
        return crystal
    return replace(crystal, known=Known(**values_of(measure(crystal.reference, protocol))))


def _tell_of_index(folder: Path, files: set[str], rows: set[str]) -> None:
    """Crystals that cannot be compared are said, not left out in silence."""
    if rows and (missing := sorted(files - rows)):
        logger.warning(
            "%s: %d of %d crystals are not in the index, and not compared: %s",
            folder,
            len(missing),
            len(files),
            first_few(missing),
        )
    if absent := sorted(rows - files):
        logger.warning(
            "%s: %d of %d rows of the index have no file: %s",
            folder,
            len(absent),
            len(rows),
            first_few(absent),
        )


def _of_yaml(
    path: Path, protocol: PhononProtocol, known: Known | None = None, *, indexed: bool = False
) -> Input:
    known = known or Known()
    read = partial(_load_yaml, path, protocol, known, indexed)
    return Input(_name(path), str(path), read, partial(_file_digest, path), "the file's", known, indexed)


def _file_digest(path: Path) -> str:
    return digest(path.read_bytes())


def _load_yaml(path: Path, protocol: PhononProtocol, known: Known, indexed: bool) -> Crystal:
    """With reference values of the index; where there is none at all, with those of its own force sets."""
    crystal = replace(crystal_of_yaml(path, protocol), known=known)
    return crystal if indexed else with_reference_values(crystal, protocol)


def _of_structure(
    structure: Structure,
    name: str,
    matrix: Int64[np.ndarray, "3 3"] | None,
    width: float,
    protocol: PhononProtocol,
) -> Input:
    load = partial(crystal_of_structure, structure, name, matrix, width, protocol.symprec)
    words = f"{width:g} Å wide" if matrix is None else str(matrix.tolist())
    return Input(name, structure.source, load, partial(geometry_digest, structure), words)


def _name(path: Path) -> str:
    """As the index of the benchmark names it: `mp-149` of `mp-149.yaml.bz2`."""
    return path.name.split(".y")[0]


def _refuse_idle(structures: bool, supercell: bool, min_width: bool, frames: str) -> None:
    """Options that would change nothing are mistakes."""
    given = {"--supercell": supercell, "--min-width": min_width, "--frames": frames != FIRST}
    for option, is_given in given.items():
        if is_given and not structures:
            raise InputError(
                f"{option}: is for structure files, and none is given; a phonopy yaml has its own"
            )
