"""What is simulated: systems from files, which of them a potential knows, and the masses of atoms."""

import os
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.data import atomic_masses, chemical_symbols
from jaxtyping import Float64, Int64

from esen.data.atoms import from_atoms
from esen.data.checks import check_structure
from esen.data.readers.formats import FORMATS
from esen.data.readers.mptrj_json import is_mptrj
from esen.data.readers.opening import opened, unpacked
from esen.data.readers.select import parse_slice, select
from esen.data.structure import Structure
from esen.errors import InputError, typed_line

_OURS = {
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
    ".zip": "extxyz_zip",
    ".npz": "npz",
    ".aselmdb": "aselmdb",
}


@dataclass(frozen=True, eq=False)
class System:
    """One thing to simulate.

    Attributes:
        name: unique among those of a run.
        structure: the atoms at the start.
        temperature_kelvin: of the initial velocities. A system that starts at a minimum of the energy ends near half
            of it, since half of the kinetic energy becomes potential energy.
    """

    name: str
    structure: Structure
    temperature_kelvin: float


def file_systems(files: Sequence[str], frames: str, temperature_kelvin: float) -> list[System]:
    """Systems from structure files, without labels.

    A system is named after its file, `MgO` of `MgO.cif`; with its frame, `MgO#3`, where several frames of the file are
    taken; with suffix or folders where two files would have the same name.

    Args:
        files: in any format that esen or ASE reads.
        frames: of each file, a Python slice.
        temperature_kelvin: of the initial velocities.

    Raises:
        InputError: a file is missing, given twice or cannot be read, nothing is selected, a structure cannot be
            true, or the temperature is negative or no number.
    """
    if not 0 <= temperature_kelvin < np.inf:
        raise InputError(f"temperature: {temperature_kelvin} K; expected 0 or more, e.g. 300")
    paths = [Path(file).expanduser() for file in files]
    systems = []
    for path, name in zip(paths, _names(paths), strict=True):
        found = read_geometries(path, frames)
        systems += [
            System(name if len(found) == 1 else f"{name}#{index}", structure, temperature_kelvin)
            for index, structure in found
        ]
    return systems


def known_systems(
    systems: Sequence[System], elements: Collection[int] | None
) -> tuple[list[System], list[System]]:
    """The systems that a potential can compute, and those left out.

    Args:
        systems: all of them.
        elements: atomic numbers that the potential knows; None: not known, then all systems are kept.
    """
    if elements is None:
        return list(systems), []
    known = set(elements)
    kept = [system for system in systems if known.issuperset(system.structure.numbers.tolist())]
    return kept, [system for system in systems if system not in kept]


def choose_names(where: str, known: Iterable[str], only: Sequence[str] | None) -> list[str]:
    """The names that are asked for, in the order of `known`. Upper and lower case are the same.

    Args:
        where: whose names they are, for the message.
        known: all names.
        only: those to take; none: all.

    Raises:
        InputError: a name in `only` does not exist; says which do.

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


def masses(numbers: Int64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
    """Masses of the elements as they occur on Earth, in amu (IUPAC, as in ASE).

    Raises:
        InputError: an atomic number has no mass.
    """
    known = (numbers >= 1) & (numbers < len(atomic_masses))
    amu = np.where(known, atomic_masses[np.where(known, numbers, 0)], np.nan).astype(np.float64)
    if np.isnan(amu).any():
        atom = int(np.flatnonzero(np.isnan(amu))[0])
        raise InputError(
            f"atom {atom}: no mass is known of atomic number {numbers[atom]}; "
            f"expected 1 (H) to {len(atomic_masses) - 1} ({chemical_symbols[len(atomic_masses) - 1]})"
        )
    return amu


def read_geometries(path: Path, frames: str) -> list[tuple[int, Structure]]:
    """Frames of a file and their numbers, without labels. Reading ends with the last frame that is asked for.

    Args:
        path: of a file in any format that esen or ASE reads.
        frames: a Python slice.

    Raises:
        InputError: the file is missing or cannot be read, nothing is selected, or a structure cannot be true.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; expected a file of structures")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ASE's readers warn of labels and symmetry, which are not used
        found = list(select(enumerate(_structures(path)), parse_slice(frames)))
    if not found:
        raise InputError(f"{path}: frames {frames!r} selects nothing")
    for _, structure in found:
        check_structure(structure, len(chemical_symbols))
    return found


def _structures(path: Path) -> Iterator[Structure]:
    kind = _format(path)
    if kind is None:
        yield from _by_ase(path)
        return
    for record in FORMATS[kind].records(path):
        frame = FORMATS[kind].parse(record)
        yield Structure(
            frame.numbers,
            frame.positions,
            frame.cell,
            frame.pbc,
            info=dict(frame.values),
            source=frame.source,
        )


def _format(path: Path) -> str | None:
    """The format that esen reads itself; None: ASE is asked, which knows its own by name and content."""
    suffix = Path(unpacked(path)).suffix.lower()
    if suffix != ".json":
        return _OURS.get(suffix)
    with opened(path, "JSON", lambda: "its beginning") as (file, _):
        return "mptrj_json" if is_mptrj(file.read(4096)) else None


def _by_ase(path: Path) -> Iterator[Structure]:
    import ase.io

    try:
        for index, atoms in enumerate(ase.io.iread(path, index=":", do_not_split_by_at_sign=True)):
            yield from_atoms(atoms, f"{path}, frame {index}")
    except Exception as error:  # whatever its many readers meet
        raise InputError(f"{path}: ASE cannot read it ({typed_line(error)})") from error


def _names(paths: Sequence[Path]) -> list[str]:
    """The stems of the files; file names, then with ever more folders, for those that would be the same."""
    whole = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100  links stay what they are called
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
