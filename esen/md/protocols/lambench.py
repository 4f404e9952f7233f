"""LAMBench's protocol, on the structures of the user's folder: its own nine do not come with esen."""

import logging
from collections.abc import Sequence
from pathlib import Path

from esen.errors import InputError
from esen.md.systems import System, choose_names, file_systems

_log = logging.getLogger(__name__)

TEMPERATURE_KELVIN = 300.0


def lambench_systems(folder: Path | None, only: Sequence[str] | None = None) -> list[System]:
    """The first frame of each file of a folder, by their names. Files that hold no structure are named in a warning.

    Raises:
        InputError: no folder, no structure in it, or a system in `only` that it does not have.
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
    systems = file_systems([str(path) for path in readable], ":1", TEMPERATURE_KELVIN)
    wanted = choose_names("lambench", (system.name for system in systems), only)
    return [system for system in systems if system.name in wanted]


def _is_readable(path: Path) -> bool:
    try:
        file_systems([str(path)], ":1", TEMPERATURE_KELVIN)
    except InputError as error:
        _log.warning("lambench: left out: %s", error)
        return False
    return True
