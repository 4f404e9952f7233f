"""MD22: 7 molecules and complexes of molecules, a file each."""

import logging

from esen.data.readers.opening import PACKINGS
from esen.data.structure import Structure
from esen.md.protocols.published import DataSet

_log = logging.getLogger(__name__)

TEMPERATURES = {
    "AT-AT": 500.0,
    "AT-AT-CG-CG": 500.0,
    "Ac-Ala3-NHMe": 500.0,
    "DHA": 500.0,
    "buckyball-catcher": 400.0,
    "double-walled_nanotube": 400.0,
    "stachyose": 500.0,
}
"""In K, as in FAIR's benchmark."""

ATOMS = {
    "AT-AT": 60,
    "AT-AT-CG-CG": 118,
    "Ac-Ala3-NHMe": 42,
    "DHA": 56,
    "buckyball-catcher": 148,
    "double-walled_nanotube": 370,
    "stachyose": 87,
}


def check_molecule(molecule: str, structure: Structure) -> None:
    """Warn of a file whose molecule has not as many atoms as the published one."""
    if len(structure) != ATOMS[molecule]:
        _log.warning(
            "%s: %d atoms, the published %s has %d; what follows is not of MD22",
            *(structure.source, len(structure), molecule, ATOMS[molecule]),
        )


MD22 = DataSet(
    name="md22",
    temperatures=TEMPERATURES,
    file_name="md22_{}",
    suffixes=(".npz", *(f"{suffix}{packing}" for suffix in (".xyz", ".extxyz") for packing in PACKINGS)),
    published="MD22 of quantum-machine.org/gdml",
    check=check_molecule,
)
