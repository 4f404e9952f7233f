"""Isotopes that scatter, and those that do not."""

from dataclasses import replace

import numpy as np
from ase import Atoms
from phono3py.other.isotope import get_mass_variances

from esen.evaluate.conductivity.isotopes import mass_variances, without_isotopes
from esen.evaluate.conductivity.run import isotope_notes
from esen.evaluate.phonons.crystal import to_phonopy
from tests.evaluate.conductivity.materials import TIGHT, alloy, aluminium
from tests.evaluate.phonons.crystals import structure_of


def test_only_natural_mixtures_scatter() -> None:
    structure = structure_of(Atoms("SiNpSiCHPo", np.eye(3).repeat(2, axis=0) * 2, cell=[5, 5, 5], pbc=True))
    masses = np.array([28.085, 237.0, 27.977, 12.0, 2.014, 209.0])
    found = mass_variances(to_phonopy(structure, masses))
    silicon = get_mass_variances(symbols=["Si"])[0]
    np.testing.assert_array_equal(found, [silicon, 0, 0, 0, 0, 0])
    words = without_isotopes(to_phonopy(structure, masses))
    assert len(words) == 5
    for part, line in zip(("Np", "27.977", "12", "2.014", "Po"), words, strict=True):
        assert part in line
    np.testing.assert_array_equal(
        mass_variances(to_phonopy(structure))[2:4], get_mass_variances(symbols=["Si", "C"])
    )


def test_masses_of_the_file_leave_no_natural_mixture() -> None:
    assert isotope_notes(aluminium(), TIGHT) == []
    heavy = replace(alloy(), masses=np.array([196.97, 65.0]))
    (line,) = isotope_notes(heavy, TIGHT)
    assert "Cu" in line
    assert isotope_notes(heavy, replace(TIGHT, isotopes=False)) == []
