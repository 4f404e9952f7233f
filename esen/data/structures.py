"""Read the structures of a file, without labels: the one reader of all commands that take structure files."""

from collections.abc import Iterator
from pathlib import Path

from ase.data import chemical_symbols

from esen.data.checks import check_structure
from esen.data.constraints import check_constraints
from esen.data.masses import with_masses
from esen.data.readers.by_ase import other_frames
from esen.data.readers.formats import FORMATS, format_of_content, format_of_name, refuse_streams
from esen.data.readers.frame import parse_slice, refusing_frames, select
from esen.data.readers.opening import unpacked
from esen.data.structure import Structure
from esen.errors import InputError


def read_structures(path: Path, frames: str) -> list[tuple[int, Structure]]:
    """Return the selected frames of a file, each with its number in the file.

    Labels are not read as such; `info` and `arrays` hold whatever else the file says of a frame and of its atoms.
    Masses and constraints are those of the file.
    Reading ends with the last frame that is asked for.

    Args:
        path: a file in any format that esen or ASE reads.
        frames: a Python slice, such as `":1"`.

    Raises:
        InputError: the file is missing or cannot be read, the slice selects nothing, or a structure is impossible or
            disordered, a mass is not above 0, or a constraint is of atoms that do not exist.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; expected a file of structures")
    refuse_streams(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    found = list(select(enumerate(_structures(path)), parse_slice(frames)))
    if not found:
        raise InputError(f"{path}: frames {frames!r} selects nothing")
    for _, structure in found:
        check_structure(structure, len(chemical_symbols))
        check_constraints(structure)
    return [(number, with_masses(structure)) for number, structure in found]


def read_named_structures(path: Path, frames: str, name: str | None = None) -> list[tuple[str, Structure]]:
    """Return the selected frames of a file with their names: `MgO` for `MgO.cif`, or `MgO#3` for one of several.

    Args:
        path: as in `read_structures`.
        frames: as in `read_structures`.
        name: replaces the name of the file.

    Raises:
        InputError: as `read_structures`.
    """
    found = read_structures(path, frames)
    name = Path(unpacked(path)).stem if name is None else name
    return [(name if len(found) == 1 else f"{name}#{number}", structure) for number, structure in found]


def _structures(path: Path) -> Iterator[Structure]:
    kind = format_of_content(path) if path.suffix == ".json" else format_of_name(path)
    find = other_frames if kind is None or kind == "vasp" else FORMATS[kind].find
    yield from (raw.structure() for raw in refusing_frames(find, path))
