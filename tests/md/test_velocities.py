"""Initial velocities are ASE's."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary, ZeroRotation

from esen.md.velocities import maxwell_boltzmann, without_drift, without_rotation

pytestmark = [
    pytest.mark.filterwarnings("ignore:Use thermalize_momenta"),  # new in ASE 3.29
    pytest.mark.filterwarnings("ignore:Periodic boundary conditions are ignored"),
]

SYSTEMS = {
    "crystal": bulk("MgO", "rocksalt", a=4.2, cubic=True),
    "molecule": molecule("CH3CH2OH"),
    "linear": Atoms("CO2", [[0, 0, 0], [1.1, 0, 0], [-1.2, 0, 0]]),
    "two atoms": Atoms("HI", [[0, 0, 0], [0.7, 0.8, -1.0]]),
}


def by_ase(atoms: Atoms, kelvin: float, seed: int) -> Atoms:
    copy = atoms.copy()
    MaxwellBoltzmannDistribution(copy, temperature_K=kelvin, rng=np.random.default_rng(seed))
    return copy


def test_the_same_draw() -> None:
    for seed, atoms in enumerate(SYSTEMS.values()):
        expected = by_ase(atoms, 432.1, seed).get_momenta()
        np.testing.assert_allclose(maxwell_boltzmann(atoms.get_masses(), 432.1, seed), expected, rtol=1e-13)


def test_the_temperature_is_that_of_the_draw() -> None:
    masses = np.full(20000, 63.5)
    momenta = maxwell_boltzmann(masses, 500.0, 0)
    kinetic = (momenta**2 / (2 * masses[:, None])).sum()
    assert kinetic / (1.5 * 20000 * units.kB) == pytest.approx(500.0, rel=0.02)
    assert not maxwell_boltzmann(masses, 0.0, 0).any()


@pytest.mark.parametrize("system", SYSTEMS)
def test_without_drift_and_rotation_as_ase(system: str) -> None:
    atoms = by_ase(SYSTEMS[system], 300.0, 3)
    masses, momenta = atoms.get_masses(), atoms.get_momenta()
    Stationary(atoms)
    still = without_drift(momenta, masses)
    np.testing.assert_allclose(still, atoms.get_momenta(), atol=1e-12)
    assert np.abs(still.sum(axis=0)).max() < 1e-12
    assert (still**2 / masses[:, None]).sum() == pytest.approx((momenta**2 / masses[:, None]).sum())
    if system == "linear":
        return  # ASE divides by a moment of inertia that is rounding
    ZeroRotation(atoms)
    np.testing.assert_allclose(
        without_rotation(still, masses, atoms.positions), atoms.get_momenta(), atol=1e-10
    )


@pytest.mark.parametrize("turn", [np.eye(3), np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]])
def test_a_linear_molecule_keeps_its_vibrations(turn: np.ndarray) -> None:
    atoms = SYSTEMS["linear"]
    positions, masses = atoms.positions @ turn.T, atoms.get_masses()
    momenta = without_drift(maxwell_boltzmann(masses, 300.0, 1), masses)
    left = without_rotation(momenta, masses, positions)
    assert np.isfinite(left).all()
    arms = positions - atoms.get_center_of_mass() @ turn.T
    assert np.abs(np.cross(arms, left).sum(axis=0)).max() < 1e-12
    assert np.abs(left.sum(axis=0)).max() < 1e-12
    assert (left**2 / masses[:, None]).sum() == pytest.approx((momenta**2 / masses[:, None]).sum())


def test_a_single_atom_is_at_rest() -> None:
    masses, momenta = np.array([40.0]), np.array([[1.0, -2.0, 3.0]])
    assert not without_drift(momenta, masses).any()
    assert np.array_equal(without_rotation(momenta, masses, np.array([[5.0, 6.0, 7.0]])), momenta)
    nothing = np.zeros((1, 3))
    assert np.array_equal(without_drift(nothing, masses), nothing)
