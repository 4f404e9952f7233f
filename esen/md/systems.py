"""The systems of a simulation: read from files, chosen by name, or by the elements that a potential knows."""

import logging
import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from esen.data.constraints import held_atoms_only
from esen.data.readers.opening import unpacked
from esen.data.structure import Structure
from esen.data.structures import read_named_structures
from esen.errors import InputError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class System:
    """A structure to simulate.

    Attributes:
        name: unique in a run.
        structure: atoms and cell at the start.
        temperature_kelvin: temperature of the initial velocities. A system that starts at a minimum of the energy
            equilibrates near half of it, because half of the kinetic energy becomes potential energy.
    """

    name: str
    structure: Structure
    temperature_kelvin: float


def file_systems(files: Sequence[str], frames: str, temperature_kelvin: float) -> list[System]:
    """Read systems from structure files.

    A system is named after its file, `MgO` for `MgO.cif`. The number of the frame is added, `MgO#3`, if several frames
    of a file are taken; the suffix and folders are added if two files would give the same name.

    Args:
        files: in any format that esen or ASE reads.
        frames: Python slice of the frames of each file.
        temperature_kelvin: temperature of the initial velocities.

    Raises:
        InputError: a file is missing, given twice or cannot be read, nothing is selected, a structure is impossible or
            has constraints other than of single atoms, or the temperature is negative or not finite.
    """
    if not 0 <= temperature_kelvin < np.inf:
        raise InputError(f"temperature: {temperature_kelvin} K; expected 0 or more, e.g. 300")
    paths = [Path(file).expanduser() for file in files]
    systems = [
        System(name, held_atoms_only(structure, "dynamics"), temperature_kelvin)
        for path, file_name in zip(paths, _names(paths), strict=True)
        for name, structure in read_named_structures(path, frames, file_name)
    ]
    moving = [system.name for system in systems if "momenta" in system.structure.arrays]
    if moving:
        _log.warning("%s: velocities of the files are not used; they are drawn anew", ", ".join(moving[:3]))
    return systems


def known_systems(
    systems: Sequence[System], elements: Collection[int] | None
) -> tuple[list[System], list[System]]:
    """Return the systems that a potential can compute, and the others.

    Args:
        systems: all systems.
        elements: atomic numbers that the potential knows; None keeps all systems.
    """
    if elements is None:
        return list(systems), []
    known = set(elements)
    kept = [system for system in systems if known.issuperset(system.structure.numbers.tolist())]
    return kept, [system for system in systems if system not in kept]


def choose_names(where: str, known: Iterable[str], only: Sequence[str] | None) -> list[str]:
    """Return the names that were asked for, in the order of `known`. Case does not matter.

    Args:
        where: what has these names, for the message.
        known: all names.
        only: the names to take; None or none takes all.

    Raises:
        InputError: a name in `only` does not exist; the message lists those that do.

    >>> choose_names("tm23", ("Ag", "Au", "Cu"), ["cu", "Ag"])
    ['Ag', 'Cu']
    """
    names = list(known)
    if not only:
        return names
    folded = {name.casefold() for name in names}
    for name in only:
        if name.casefold() not in folded:
            raise InputError(f"{where}: has no system {name!r}; expected {', '.join(names)}")
    asked = {name.casefold() for name in only}
    return [name for name in names if name.casefold() in asked]


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the stems of the files, with suffix and as many folders as are needed to tell equal ones apart."""
    whole = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100  # symbolic links keep their names
    for path, count in Counter(whole).items():
        if count > 1:
            raise InputError(f"{path}: given {count} times; one run of it is enough")
    names = [Path(unpacked(path)).stem for path in whole]
    for folders in range(max((len(path.parts) for path in whole), default=0)):
        same = {name for name, count in Counter(names).items() if count > 1}
        if not same:
            break
        for i, path in enumerate(whole):
            if names[i] in same:
                names[i] = "-".join(path.parts[-1 - folders :])
    return names
