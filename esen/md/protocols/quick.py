"""Small systems that need no files: fcc metals, argon, MgO and molecules."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule

from esen.data.atoms import from_atoms
from esen.md.systems import System, choose_names

METALS = ("Al", "Ni", "Cu", "Pd", "Ag", "Pt", "Au")
"""The metals that ASE's EMT was fitted to."""

MOLECULES = {"water": "H2O", "methane": "CH4", "ethanol": "CH3CH2OH", "benzene": "C6H6"}

CRYSTAL_KELVIN = 1000.0
"""The motion is far from harmonic, and no crystal melts: half of the kinetic energy becomes potential energy, and
aluminium, whose melting point is the lowest, melts at 933 K."""

MOLECULE_KELVIN = 300.0

RATTLE = 0.05
"""Standard deviation in Å of the displacements of a crystal's atoms, which feel no forces at their ideal positions."""

ARGON_KELVIN = 60.0
"""The solid melts at 84 K."""

_MGO_LATTICE = 4.212  # Å, measured at room temperature


def quick_systems(only: Sequence[str] | None = None) -> list[System]:
    """Make seven fcc metals and argon (32 atoms each), MgO (16 atoms) and four molecules, the same at every call.

    Args:
        only: names of the systems to make; None makes all.

    Raises:
        InputError: `only` names a system that does not exist.
    """
    makers: dict[str, Callable[[str], System]] = dict.fromkeys(METALS, _metal)
    makers |= {"MgO": _magnesia, "Ar": _argon} | dict.fromkeys(MOLECULES, _molecule)
    return [makers[name](name) for name in choose_names("quick", makers, only)]


def _metal(name: str) -> System:
    return _crystal(name, bulk(name, cubic=True).repeat(2), "fcc")


def _argon(name: str) -> System:
    made = _crystal(name, bulk(name, cubic=True).repeat(2), "fcc")
    return replace(made, temperature_kelvin=ARGON_KELVIN)


def _magnesia(name: str) -> System:
    return _crystal(name, bulk("MgO", "rocksalt", a=_MGO_LATTICE).repeat(2), "rocksalt")


def _crystal(name: str, atoms: Atoms, kind: str) -> System:
    displacements = np.random.default_rng(0).normal(size=atoms.positions.shape)
    atoms.positions += RATTLE * (displacements - displacements.mean(axis=0))
    source = f"{name} ({kind}, {len(atoms)} atoms, rattled by {RATTLE} Å)"
    return System(name, from_atoms(atoms, source), CRYSTAL_KELVIN)


def _molecule(name: str) -> System:
    return System(name, from_atoms(molecule(MOLECULES[name]), f"{name} (molecule)"), MOLECULE_KELVIN)
