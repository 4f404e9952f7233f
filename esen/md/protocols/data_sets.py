"""Systems of published data sets and of a user's folder, found by the names of their files."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ase.data import chemical_symbols

from esen.data.readers.opening import PACKINGS
from esen.data.structure import Structure
from esen.data.structures import read_structures
from esen.errors import InputError
from esen.md.systems import System, choose_names, file_systems

_log = logging.getLogger(__name__)

_DEPTH = 2
"""Levels of folders below the user's folder in which files are looked for."""
_SHOWN = 4
"""File names that a message shows at most."""
_XYZ = tuple(f"{suffix}{packing}" for suffix in (".xyz", ".extxyz") for packing in PACKINGS)

MELTING_POINTS = {
    "Ag": 1235.0,
    "Au": 1337.0,
    "Cd": 594.0,
    "Co": 1768.0,
    "Cr": 2180.0,
    "Cu": 1358.0,
    "Fe": 1811.0,
    "Hf": 2506.0,
    "Hg": 234.0,
    "Ir": 2739.0,
    "Mn": 1519.0,
    "Mo": 2896.0,
    "Nb": 2750.0,
    "Ni": 1728.0,
    "Os": 3306.0,
    "Pd": 1828.0,
    "Pt": 2041.0,
    "Re": 3459.0,
    "Rh": 2237.0,
    "Ru": 2607.0,
    "Ta": 3290.0,
    "Tc": 2430.0,
    "Ti": 1941.0,
    "V": 2183.0,
    "W": 3695.0,
    "Zn": 693.0,
    "Zr": 2128.0,
}
"""Melting points of the metals of TM23 in K, as TM23 and FAIR's benchmark give them."""

MELT = 1.25
"""Temperature of TM23's melt frames, in units of the melting point."""

MD22_KELVIN = {
    "AT-AT": 500.0,
    "AT-AT-CG-CG": 500.0,
    "Ac-Ala3-NHMe": 500.0,
    "DHA": 500.0,
    "buckyball-catcher": 400.0,
    "double-walled_nanotube": 400.0,
    "stachyose": 500.0,
}
"""Temperatures of the molecules of MD22 in K, as FAIR's benchmark gives them."""

MD22_ATOMS = {
    "AT-AT": 60,
    "AT-AT-CG-CG": 118,
    "Ac-Ala3-NHMe": 42,
    "DHA": 56,
    "buckyball-catcher": 148,
    "double-walled_nanotube": 370,
    "stachyose": 87,
}
"""Numbers of atoms of the molecules of MD22."""

LAMBENCH_KELVIN = 300.0


@dataclass(frozen=True)
class DataSet:
    """A published set of systems with one file per system.

    Attributes:
        name: of the set.
        temperatures: temperature of the initial velocities in K, by system.
        file_name: published name of a system's file without suffix; `{}` stands for the system.
        suffixes: suffixes under which a file may be found; the published one comes first.
        published: where the files are published.
        check: called with the system's name and the structure that was read; refuses another system, or warns.
    """

    name: str
    temperatures: Mapping[str, float]
    file_name: str
    suffixes: tuple[str, ...]
    published: str
    check: Callable[[str, Structure], None]

    def file(self, system: str) -> str:
        """Return the published name of a system's file."""
        return self.file_name.format(system) + self.suffixes[0]

    @property
    def expected_files(self) -> str:
        """The first few files, how many there are, and where they are published."""
        names = list(self.temperatures)
        shown = ", ".join(self.file(name) for name in names[:_SHOWN])
        return f"{shown}, … ({len(names)} files; {self.published})"

    def find(self, folder: Path) -> dict[str, Path]:
        """Return the file of each system that has one. The shallowest is taken if there are several."""
        files: dict[str, Path] = {}
        for path in _visible_files(folder):
            files.setdefault(path.name, path)
        found = {}
        for system in self.temperatures:
            names = [self.file_name.format(system) + suffix for suffix in self.suffixes]
            name = next((name for name in names if name in files), None)
            if name is not None:
                found[system] = files[name]
        return found


def _check_metal(metal: str, structure: Structure) -> None:
    others = {chemical_symbols[z] for z in structure.numbers.tolist()} - {metal}
    if others:
        raise InputError(f"{structure.source}: holds {', '.join(sorted(others))}; expected {metal} alone")


def _check_molecule(molecule: str, structure: Structure) -> None:
    if len(structure) != MD22_ATOMS[molecule]:
        _log.warning(
            "%s: %d atoms, but the published %s has %d; the results are not those of MD22",
            *(structure.source, len(structure), molecule, MD22_ATOMS[molecule]),
        )


TM23 = DataSet(
    name="tm23",
    temperatures={metal: MELT * point for metal, point in MELTING_POINTS.items()},
    file_name="{}_melt_nequip_test",
    suffixes=_XYZ,
    published="Materials Cloud Archive 2024.48, benchmarking_master_collection",
    check=_check_metal,
)
"""27 transition metals, one file of extended XYZ for each of three temperatures, of which the melt is taken."""

MD22 = DataSet(
    name="md22",
    temperatures=MD22_KELVIN,
    file_name="md22_{}",
    suffixes=(".npz", *_XYZ),
    published="MD22 of quantum-machine.org/gdml",
    check=_check_molecule,
)
"""7 molecules and complexes of molecules, one file each."""


def published_systems(
    data_set: DataSet, folder: Path | None, only: Sequence[str] | None = None
) -> list[System]:
    """Read the first frame of each file of a published set that lies in a folder, or at most two levels below it.

    A warning names the files that are missing.

    Args:
        data_set: which files to look for.
        folder: the user's.
        only: names of the systems to read; None reads all whose files are there.

    Raises:
        InputError: there is no folder or none of the files in it, a system in `only` does not exist or its file is
            missing, or a file cannot be read or holds another system.
    """
    wanted = choose_names(data_set.name, data_set.temperatures, only)
    if folder is None:
        raise InputError(
            f"{data_set.name}: no data folder; give --data FOLDER with {data_set.expected_files}"
        )
    if not folder.is_dir():
        what = "is a file (a zip must be unpacked)" if folder.exists() else "no such folder"
        raise InputError(f"{folder}: {what}; expected a folder with {data_set.expected_files}")
    found = data_set.find(folder)
    if not found:
        raise InputError(f"{folder}: has no file of {data_set.name}; expected {data_set.expected_files}")
    missing = [name for name in wanted if name not in found]
    if missing:
        files = ", ".join(data_set.file(name) for name in missing)
        if only:
            raise InputError(f"{folder}: {data_set.name} needs {files}, which is not there")
        _log.warning(
            "%s: %d of %d systems left out, because their files are not in %s: %s",
            *(data_set.name, len(missing), len(wanted), folder, files),
        )
    systems = []
    for name in wanted:
        if name in found:
            ((_, structure),) = read_structures(found[name], ":1")
            data_set.check(name, structure)
            systems.append(System(name, structure, data_set.temperatures[name]))
    return systems


def lambench_systems(folder: Path | None, only: Sequence[str] | None = None) -> list[System]:
    """Read the first frame of each file of the user's folder, in the order of the file names.

    LAMBench's own nine structures do not come with esen. A warning names the files that hold no structure.

    Raises:
        InputError: there is no folder or no structure in it, or a system in `only` does not exist.
    """
    expected = "expected a folder of structure files, in any format that esen or ASE reads"
    if folder is None:
        raise InputError(f"lambench: no data folder; give --data FOLDER, {expected}")
    if not folder.is_dir():
        raise InputError(f"{folder}: {'is a file' if folder.exists() else 'no such folder'}; {expected}")
    paths = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    readable = [path for path in paths if _is_readable(path)]
    if not readable:
        raise InputError(f"{folder}: has no file that can be read as a structure; {expected}")
    systems = file_systems([str(path) for path in readable], ":1", LAMBENCH_KELVIN)
    wanted = choose_names("lambench", (system.name for system in systems), only)
    return [system for system in systems if system.name in wanted]


def _is_readable(path: Path) -> bool:
    try:
        read_structures(path, ":1")
    except InputError as error:
        _log.warning("lambench: left out: %s", error)
        return False
    return True


def _visible_files(folder: Path) -> list[Path]:
    """All files of a folder and of the folders below it, the shallowest first. Hidden ones are left out."""
    files = []
    for depth in range(_DEPTH + 1):
        for path in sorted(folder.glob("*/" * depth + "*")):
            below = path.relative_to(folder).parts
            if path.is_file() and not any(part.startswith((".", "__MACOSX")) for part in below):
                files.append(path)
    return files
