"""Systems of a published data set, found in the user's folder by the names under which it is published."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from esen.data.structure import Structure
from esen.data.structures import read_structures
from esen.errors import InputError
from esen.md.systems import System, choose_names

_log = logging.getLogger(__name__)

_DEPTH = 2
_SHOWN = 4


@dataclass(frozen=True)
class DataSet:
    """A set of systems, a file each.

    Attributes:
        name: as it is called.
        temperatures: of the initial velocities in K, by system.
        file_name: the published name of a system's file, without suffix; `{}` is the system.
        suffixes: under which it may be found, the published one first.
        published: where it can be got.
        check: refuses a structure that is not of the system, or warns.
    """

    name: str
    temperatures: Mapping[str, float]
    file_name: str
    suffixes: tuple[str, ...]
    published: str
    check: Callable[[str, Structure], None]

    def file(self, system: str) -> str:
        """The published name of a system's file."""
        return self.file_name.format(system) + self.suffixes[0]


def has_data(data_set: DataSet, folder: Path | None) -> bool:
    """Whether the folder holds any file of the set."""
    return folder is not None and folder.is_dir() and bool(_find(data_set, folder))


def expected_files(data_set: DataSet) -> str:
    """The first few of its files, how many there are, and where they are published."""
    names = list(data_set.temperatures)
    shown = ", ".join(data_set.file(name) for name in names[:_SHOWN])
    return f"{shown}, … ({len(names)} files; {data_set.published})"


def published_systems(
    data_set: DataSet, folder: Path | None, only: Sequence[str] | None = None
) -> list[System]:
    """The first frame of each file of the set that is in the folder, or in folders in it, two deep.

    Files that are not there are named in a warning.

    Args:
        data_set: what to look for.
        folder: of the user.
        only: the names of the systems to take; None: all that are there.

    Raises:
        InputError: no folder, none of the files in it, a system in `only` that does not exist or whose file is
            missing, or a file that cannot be read or is of another system.
    """
    wanted = choose_names(data_set.name, data_set.temperatures, only)
    if folder is None:
        raise InputError(
            f"{data_set.name}: no data folder; give --data FOLDER with {expected_files(data_set)}"
        )
    if not folder.is_dir():
        what = "is a file (a zip must be unpacked)" if folder.exists() else "no such folder"
        raise InputError(f"{folder}: {what}; expected a folder with {expected_files(data_set)}")
    found = _find(data_set, folder)
    if not found:
        raise InputError(f"{folder}: has no file of {data_set.name}; expected {expected_files(data_set)}")
    missing = [name for name in wanted if name not in found]
    if missing:
        files = ", ".join(data_set.file(name) for name in missing)
        if only:
            raise InputError(f"{folder}: {data_set.name} needs {files}, and it is not there")
        _log.warning(
            "%s: %d of %d systems left out, their files are not in %s: %s",
            *(data_set.name, len(missing), len(wanted), folder, files),
        )
    return [_system(data_set, name, found[name]) for name in wanted if name in found]


def _system(data_set: DataSet, name: str, path: Path) -> System:
    ((_, structure),) = read_structures(path, ":1")
    data_set.check(name, structure)
    return System(name, structure, data_set.temperatures[name])


def _find(data_set: DataSet, folder: Path) -> dict[str, Path]:
    """The file of each system that has one; the shallowest, where there are several."""
    files: dict[str, Path] = {}
    for path in _walk(folder, _DEPTH):
        files.setdefault(path.name, path)
    found = {}
    for system in data_set.temperatures:
        names = [data_set.file_name.format(system) + suffix for suffix in data_set.suffixes]
        there = [name for name in names if name in files]
        if there:
            found[system] = files[there[0]]
    return found


def _walk(folder: Path, depth: int) -> list[Path]:
    """Files of a folder by their names, then those of the folders in it. What is hidden is not seen."""
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX")))
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror or error})") from error
    files = [path for path in entries if path.is_file()]
    below = [_walk(path, depth - 1) for path in entries if depth and path.is_dir()]
    deeper = [path for part in below for path in part]
    return files + sorted(deeper, key=lambda path: (len(path.parts), path))
