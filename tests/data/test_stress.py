import numpy as np
import pytest
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress
from ase.units import GPa
from hypothesis import given
from hypothesis import strategies as st

from esen.data.stress import is_symmetric, to_stress

SIX = np.array([0.01, -0.02, 0.03, 0.004, -0.005, 0.006])
FULL = voigt_6_to_full_3x3_stress(SIX)


def test_voigt_order_is_that_of_ase():
    np.testing.assert_array_equal(to_stress(SIX, "ase", 1.0), FULL)
    np.testing.assert_array_equal(to_stress(FULL.ravel(), "ase", 1.0), FULL)


def test_a_compressed_cell_has_positive_vasp_pressure_and_negative_stress():
    # VASP prints 10 kBar for a crystal that presses outwards with 1 GPa.
    stress = to_stress(np.array([10.0, 10.0, 10.0, 0.0, 0.0, 0.0]), "vasp_kbar", 20.0)
    np.testing.assert_allclose(stress, -1.0 * GPa * np.eye(3), rtol=1e-15)
    assert stress[0, 0] == pytest.approx(-6.2415e-3, rel=1e-4)


@given(st.floats(1.0, 1e4))
def test_virial_is_minus_stress_times_volume(volume):
    np.testing.assert_allclose(to_stress(-SIX * volume, "virial", volume), FULL, rtol=1e-14)


def test_the_sign_is_that_of_ases_own_calculators():
    from ase.calculators.emt import EMT

    atoms = Atoms("Cu", cell=3.4 * (np.ones((3, 3)) - np.eye(3)) / 2, pbc=True, calculator=EMT())
    energies = []
    for strain in (-1e-4, 1e-4):
        strained = atoms.copy()
        strained.set_cell(atoms.cell * (1 + strain), scale_atoms=True)
        strained.calc = EMT()
        energies.append(strained.get_potential_energy())
    trace = (energies[1] - energies[0]) / 2e-4 / atoms.get_volume()
    read = to_stress(atoms.get_stress(), "ase", atoms.get_volume())
    assert trace < 0  # compressed
    assert np.trace(read) == pytest.approx(trace, rel=1e-5)


def test_rounding_is_averaged_and_more_is_left():
    printed = FULL.copy()
    printed[0, 1] += 1e-7
    stress = to_stress(printed.ravel(), "ase", 1.0)
    np.testing.assert_array_equal(stress, stress.T)
    wrong = FULL.copy()
    wrong[0, 1] += 1e-3
    assert not is_symmetric(to_stress(wrong.ravel(), "ase", 1.0))
    assert not is_symmetric(np.full((3, 3), np.nan))
