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

from esen.data.readers.frame import RawFrame
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
    numbers, positions, energies, forces = (contents.get(name) for name in layout)
    assert numbers is not None
    assert positions is not None
    frames = len(positions)
    if positions.shape != (frames, len(numbers), 3):
        raise InputError(
            f"{path}: {layout[1]} has shape {positions.shape}, expected (frames, {len(numbers)}, 3)"
        )
    if energies is not None and energies.size != frames:
        raise InputError(f"{path}: {layout[2]} has {energies.size} energies for {frames} frames")
    if forces is not None and forces.shape != positions.shape:
        raise InputError(f"{path}: {layout[3]} has shape {forces.shape}, but {layout[1]} {positions.shape}")
    name = str(contents["name"]) if "name" in contents else path.stem
    for index in range(frames):
        frame = Structure(
            numbers=numbers.astype(np.int64),
            positions=positions[index].astype(np.float64) * length_unit,
            cell=np.zeros((3, 3)),
            pbc=np.zeros(3, dtype=np.bool_),
            info={"name": name},
            source=f"{path}, frame {index}",
        )
        if energies is not None:
            frame.info["energy"] = float(energies.flat[index]) * energy_unit
        if forces is not None:
            frame.arrays["forces"] = forces[index].astype(np.float64) * (energy_unit / length_unit)
        yield RawFrame(frame, frame.source, done=(index + 1) / frames)


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as saved:
            known = {name for layout in LAYOUTS for name in layout} | {"e_unit", "r_unit", "lattice", "name"}
            return {key: saved[key] if key in known else np.zeros(0) for key in saved}
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError) as error:
        raise InputError(f"{path}: cannot be read as .npz ({error})") from error


def _unit(
    contents: dict[str, np.ndarray], key: str, default: str, known: dict[str, float], path: Path
) -> float:
    given = str(contents[key]) if key in contents else default
    if given.lower() not in known:
        raise InputError(f"{path}: {key} is {given!r}, expected one of {', '.join(known)}")
    return known[given.lower()]
