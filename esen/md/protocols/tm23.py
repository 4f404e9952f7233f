"""TM23: 27 transition metals, each in one file of extended XYZ for each of three temperatures."""

from ase.data import chemical_symbols

from esen.data.readers.opening import PACKINGS
from esen.data.structure import Structure
from esen.errors import InputError
from esen.md.protocols.published import DataSet

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
"""In K, as TM23 and FAIR's benchmark have them."""

MELT = 1.25
"""The temperature of the frames called melt, in melting points."""


def check_metal(metal: str, structure: Structure) -> None:
    """Refuse a file of another metal.

    Raises:
        InputError: an atom is of another element.
    """
    others = {chemical_symbols[z] for z in structure.numbers.tolist()} - {metal}
    if others:
        raise InputError(f"{structure.source}: holds {', '.join(sorted(others))}; expected {metal} alone")


TM23 = DataSet(
    name="tm23",
    temperatures={metal: MELT * point for metal, point in MELTING_POINTS.items()},
    file_name="{}_melt_nequip_test",
    suffixes=tuple(f"{suffix}{packing}" for suffix in (".xyz", ".extxyz") for packing in PACKINGS),
    published="Materials Cloud Archive 2024.48, benchmarking_master_collection",
    check=check_metal,
)
