"""`.npz` of one molecule in many conformations, in kcal/mol, in the layouts of sGDML (MD17, MD22) and of rMD17.

| | atomic numbers | positions | energies | forces |
|---|---|---|---|---|
| MD17, MD22 | z | R | E | F |
| rMD17 | nuclear_charges | coords | energies | forces |
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import units

from esen.data.readers.frame import RawFrame, whole_numbers
from esen.data.structure import Structure
from esen.errors import InputError

LAYOUTS = (("z", "R", "E", "F"), ("nuclear_charges", "coords", "energies", "forces"))

_ENERGY_UNITS = {
    "kcal/mol": units.kcal / units.mol,
    "kj/mol": units.kJ / units.mol,
    "ev": 1.0,
    "mev": 1e-3,
    "hartree": units.Hartree,
    "ha": units.Hartree,
}
_LENGTH_UNITS = {"ang": 1.0, "angstrom": 1.0, "a": 1.0, "å": 1.0, "bohr": units.Bohr}


def npz_frames(path: Path) -> Iterator[RawFrame]:
    """Iterate over the conformations. Units are kcal/mol and Å unless the file names others (`e_unit`, `r_unit`).

    Raises:
        InputError: the file is not `.npz` of these layouts, or the shapes of its arrays do not agree.
    """
    contents = _load(path)
    layout = next((names for names in LAYOUTS if names[0] in contents and names[1] in contents), None)
    if layout is None:
        names = ", ".join(sorted(contents))
        raise InputError(
            f"{path}: has {names}; expected z, R, E, F or nuclear_charges, coords, energies, forces"
        )
    if "lattice" in contents:
        raise InputError(f"{path}: has a lattice; only molecules are read from .npz, give it as extended XYZ")
    energy_unit = _unit(contents, "e_unit", "kcal/mol", _ENERGY_UNITS, path)
    length_unit = _unit(contents, "r_unit", "Ang", _LENGTH_UNITS, path)
    numbers = whole_numbers(contents[layout[0]])
    shape = (len(contents[layout[1]]), len(numbers), 3)
    shapes = dict(zip(layout[1:], (shape, shape[:1], shape), strict=True))
    found = {}
    for key in (key for key in shapes if key in contents):
        array = contents[key]
        if array.size != np.prod(shapes[key]) or array.dtype.kind not in "iuf":
            kind = f"shape {array.shape} and type {array.dtype}"
            raise InputError(f"{path}: {key} has {kind}, expected real numbers of the shape {shapes[key]}")
        found[key] = array.reshape(shapes[key])
    positions, energies, forces = (found.get(key) for key in layout[1:])
    assert positions is not None
    name = str(contents["name"]) if "name" in contents else path.stem
    for index in range(shape[0]):
        frame = Structure(
            numbers=numbers,
            positions=positions[index].astype(np.float64) * length_unit,
            cell=np.zeros((3, 3)),
            pbc=np.zeros(3, dtype=np.bool_),
            info={"name": name},
            source=f"{path}, frame {index}",
        )
        if energies is not None:
            frame.info["energy"] = float(energies[index]) * energy_unit
        if forces is not None:
            frame.arrays["forces"] = forces[index].astype(np.float64) * (energy_unit / length_unit)
        yield RawFrame(frame, frame.source, done=(index + 1) / shape[0])


def _load(path: Path) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: is no .npz file, or is cut off")
    with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
        known = {name for layout in LAYOUTS for name in layout} | {"e_unit", "r_unit", "lattice", "name"}
        return {key: saved[key] if key in known else np.zeros(0) for key in saved}


def _unit(
    contents: dict[str, np.ndarray], key: str, default: str, known: dict[str, float], path: Path
) -> float:
    given = str(contents[key]) if key in contents else default
    if given.lower() not in known:
        raise InputError(f"{path}: {key} is {given!r}, expected one of {', '.join(known)}")
    return known[given.lower()]
