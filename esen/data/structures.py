"""Read the structures of a file, without labels: the one reader of all commands that take structure files."""

import warnings
from collections.abc import Iterator
from pathlib import Path

from ase.data import chemical_symbols

from esen.data.atoms import from_atoms
from esen.data.checks import check_structure
from esen.data.constraints import check_constraints
from esen.data.masses import with_masses
from esen.data.readers.formats import FORMATS, format_of_content, format_of_name
from esen.data.readers.frame import parse_slice, select
from esen.data.readers.opening import unpacked
from esen.data.structure import Structure
from esen.errors import InputError, typed_line

_FULL = 1e-3
"""Deviation from 1 of the occupancy of a full site, due to rounding."""


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
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ASE's readers warn about labels and symmetry, which are not used
        found = list(select(enumerate(_structures(path)), parse_slice(frames)))
    if not found:
        raise InputError(f"{path}: frames {frames!r} selects nothing")
    for _, structure in found:
        _refuse_disorder(structure)
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


def _refuse_disorder(structure: Structure) -> None:
    """Refuse sites that ASE's CIF reader has filled with one of several elements, or that are partly vacant."""
    sites = structure.info.get("occupancy")
    for species in sites.values() if isinstance(sites, dict) else ():
        if len(species) != 1 or any(abs(occupancy - 1) > _FULL for occupancy in species.values()):
            named = ", ".join(f"{symbol} {occupancy:g}" for symbol, occupancy in species.items())
            raise InputError(
                f"{structure.source}: a site is disordered (occupancy {named}); expected one element per site"
            )


def _structures(path: Path) -> Iterator[Structure]:
    kind = format_of_content(path) if path.suffix == ".json" else format_of_name(path)
    if kind is None or kind == "vasp":
        yield from _structures_by_ase(path)
    else:
        yield from (raw.structure() for raw in FORMATS[kind].frames(path))


def _structures_by_ase(path: Path) -> Iterator[Structure]:
    import ase.io

    try:
        for index, atoms in enumerate(ase.io.iread(path, index=":", do_not_split_by_at_sign=True)):
            yield from_atoms(atoms, f"{path}, frame {index}")
    except Exception as error:  # ASE's readers raise many kinds of errors
        raise InputError(f"{path}: ASE cannot read it ({typed_line(error)})") from error
