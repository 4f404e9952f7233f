"""Elastic constants of crystals."""

from dataclasses import replace
from itertools import product
from typing import Any, ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.tersoff import Tersoff, TersoffParameters
from ase.units import GPa
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from esen.errors import InputError
from esen.evaluate.elastic import (
    COLUMNS,
    ROWS,
    TIGHT,
    ElasticSpec,
    Stiffness,
    elastic_constants,
    strain,
)
from esen.evaluate.eos import equation_of_state, fit_birch_murnaghan
from esen.md.calculator import EsenCalculator
from tests.evaluate.phonons.crystals import Springs, emt, model_of, structure_of
from tests.toys import PairPotential, lennard_jones

ONE = ElasticSpec(strains=(0.005,))


class Quadratic(Calculator):
    """Two atoms in a triclinic cell with U/V0 = ση + ½ηCη + ηΛu + ½uKu, where u is their relative displacement.

    The relaxed-ion constants are C − ΛK⁻¹Λᵀ without any error of higher order in η, which is the Lagrangian strain.
    """

    implemented_properties: ClassVar = ["energy", "forces", "stress"]

    def __init__(self, stress: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        random = np.random.default_rng(3)
        self.cell = np.array([[4.0, 0, 0], [0.7, 3.6, 0], [0.4, 0.9, 4.4]])
        root = random.normal(size=(6, 6))
        self.clamped = 0.6 * np.eye(6) + 0.1 * root @ root.T
        self.coupling = 0.1 * random.normal(size=(6, 3))
        self.springs = 0.4 * np.eye(3) + 0.05 * np.ones((3, 3))
        self.tension = stress * random.normal(size=6)

    @property
    def atoms_at_rest(self) -> Atoms:
        return Atoms("NaCl", scaled_positions=[[0, 0, 0], [0.5, 0.4, 0.6]], cell=self.cell, pbc=True)

    @property
    def relaxed_ion(self) -> Float64[np.ndarray, "6 6"]:
        softer = self.coupling @ np.linalg.solve(self.springs, self.coupling.T)
        return np.asarray((self.clamped - softer) / GPa)

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        volume = abs(np.linalg.det(self.cell))
        gradient = np.linalg.solve(self.cell, self.atoms.cell.array)
        tensor = (gradient @ gradient.T - np.eye(3)) / 2
        eta = tensor[ROWS, COLUMNS] * np.array([1, 1, 1, 2, 2, 2])
        scaled = np.linalg.solve(self.atoms.cell.array.T, self.atoms.positions.T).T
        u = (scaled[1] - scaled[0] - np.array([0.5, 0.4, 0.6])) @ self.cell
        conjugate = self.tension + self.clamped @ eta + self.coupling @ u
        pull = volume * (self.coupling.T @ eta + self.springs @ u)
        second = np.zeros((3, 3))
        second[ROWS, COLUMNS] = second[COLUMNS, ROWS] = conjugate
        force = np.linalg.solve(self.atoms.cell.array, self.cell @ pull)
        cauchy = gradient.T @ second @ gradient / np.linalg.det(gradient)
        density = (
            self.tension @ eta
            + eta @ self.clamped @ eta / 2
            + eta @ self.coupling @ u
            + u @ self.springs @ u / 2
        )
        self.results = {
            "energy": volume * density,
            "forces": np.stack([force, -force]),
            "stress": cauchy[ROWS, COLUMNS],
        }


def emt_constants(name: str) -> Float64[np.ndarray, "6 6"]:
    """C in GPa by second differences of energies alone, at the lattice constant where the energy is lowest."""

    def energy(a: float, tensor: Float64[np.ndarray, "3 3"]) -> float:
        atoms = bulk(name, a=a)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + tensor), scale_atoms=True)
        atoms.calc = EMT()
        return float(atoms.get_potential_energy())

    a = {"Cu": 3.5903, "Ni": 3.4877}[name]
    for _ in range(3):  # Newton's method
        low, at, high = (energy(a + step, np.zeros((3, 3))) for step in (-1e-3, 0, 1e-3))
        a -= 1e-3 * (high - low) / 2 / (high + low - 2 * at)

    def mixed(i: int, j: int, step: float) -> float:
        total = 0.0
        for first, second in product((1, -1), repeat=2):
            tensor = np.zeros((3, 3))
            for component, sign in ((i, first), (j, second)):
                row, column = ROWS[component], COLUMNS[component]
                tensor[row, column] += sign * step / 2
                tensor[column, row] += sign * step / 2
            total += first * second * energy(a, tensor)
        return total / (4 * step**2 * a**3 / 4 * GPa)

    found = np.zeros((6, 6))
    for i, j in ((0, 0), (0, 1), (3, 3), (0, 3)):
        found[i, j] = (4 * mixed(i, j, 0.002) - mixed(i, j, 0.004)) / 3
    return found


@pytest.mark.parametrize("name", ["Cu", "Ni"])
def test_metals_agree_with_finite_differences_of_energies(name: str) -> None:
    found = elastic_constants(structure_of(bulk(name), name), emt(), ElasticSpec())
    c = found.stiffness.matrix
    expected = emt_constants(name)
    assert c[0, 0] == pytest.approx(expected[0, 0], rel=2e-3)
    assert c[0, 1] == pytest.approx(expected[0, 1], rel=2e-3)
    assert c[3, 3] == pytest.approx(expected[3, 3], rel=2e-3)
    cubic = np.zeros((6, 6))
    cubic[:3, :3] = c[0, 1]
    np.fill_diagonal(cubic, [c[0, 0]] * 3 + [c[3, 3]] * 3)
    np.testing.assert_allclose(c, cubic, atol=1e-4)
    assert found.asymmetry < 1e-6
    assert found.energy_difference < 2e-3
    assert 0.005 < found.extrapolation < 0.2
    assert not found.stressed
    assert found.unconverged == 0
    assert found.stiffness.lowest_eigenvalue == pytest.approx(c[0, 0] - c[0, 1], abs=1e-4)
    assert found.stiffness.voigt.bulk == pytest.approx((c[0, 0] + 2 * c[0, 1]) / 3)


def test_all_constants_of_a_triclinic_crystal_with_relaxed_ions() -> None:
    calculator = Quadratic()
    atoms = calculator.atoms_at_rest
    atoms.set_cell(atoms.cell.array @ np.diag([1.01, 0.995, 1.0]), scale_atoms=True)
    atoms.rattle(0.02, seed=0)
    spec = replace(ONE, relax=replace(TIGHT, fmax=1e-7), energies=True)
    found = elastic_constants(structure_of(atoms), model_of(calculator), spec)
    np.testing.assert_allclose(found.stiffness.matrix, calculator.relaxed_ion, atol=5e-3)
    assert np.abs(calculator.relaxed_ion - calculator.clamped / GPa).max() > 1
    np.testing.assert_allclose(found.from_energies, found.stiffness.matrix, atol=5e-3)
    assert found.asymmetry < 5e-3


def test_constants_of_a_stressed_crystal_are_second_derivatives_too() -> None:
    calculator = Quadratic(stress=0.01)
    spec = replace(ONE, relax=replace(TIGHT, cell=False, fmax=1e-7))
    found = elastic_constants(structure_of(calculator.atoms_at_rest), model_of(calculator), spec)
    np.testing.assert_allclose(found.stiffness.matrix, calculator.relaxed_ion, atol=1e-3)
    np.testing.assert_allclose(found.residual_stress, calculator.tension / GPa, atol=1e-6)
    assert found.stressed
    assert found.asymmetry < 1e-3
    assert found.energy_difference < 1e-3


def test_a_rotated_crystal_has_the_rotated_tensor() -> None:
    turn = Rotation.from_rotvec([0.3, -0.8, 0.5]).as_matrix()
    atoms = bulk("Cu", cubic=False)
    straight = elastic_constants(structure_of(atoms), emt(), ONE)
    atoms.set_cell(atoms.cell.array @ turn.T, scale_atoms=True)
    turned = elastic_constants(structure_of(atoms), emt(), ONE)
    expected = straight.stiffness.rotated(turn).matrix
    np.testing.assert_allclose(turned.stiffness.matrix, expected, rtol=2e-3, atol=0.05)
    assert np.abs(turned.stiffness.matrix - straight.stiffness.matrix).max() > 5
    assert turned.stiffness.lowest_eigenvalue == pytest.approx(straight.stiffness.lowest_eigenvalue, rel=2e-3)
    assert turned.stiffness.hill.shear == pytest.approx(straight.stiffness.hill.shear, rel=2e-3)
    for found in (turned, straight):
        np.testing.assert_allclose(found.standard.matrix, straight.stiffness.matrix, rtol=2e-3, atol=0.05)


def test_silicon_agrees_with_the_paper_of_its_potential() -> None:
    parameters = [3.0, 1.0, 1.7322, 1.0039e5, 16.218, -0.59826, 0.78734, 1.0999e-6, 1.7322, 471.18]
    calculator = Tersoff({("Si", "Si", "Si"): TersoffParameters(*parameters, 2.85, 0.15, 2.4799, 1830.8)})
    spec = replace(ONE, relax=replace(TIGHT, fmax=1e-4))
    c = elastic_constants(structure_of(bulk("Si")), model_of(calculator), spec).stiffness.matrix
    # Tersoff, Phys. Rev. B 38, 9902 (1988): 1.425, 0.754 and 0.690 Mbar; 1.188 with clamped ions
    assert [c[0, 0], c[0, 1], c[3, 3]] == pytest.approx([142.5, 75.4, 69.0], abs=0.2)


def test_an_isotropic_tensor_has_its_moduli() -> None:
    bulk_modulus, shear = 120.0, 45.0
    c = np.zeros((6, 6))
    c[:3, :3] = bulk_modulus - 2 * shear / 3
    np.fill_diagonal(c, [bulk_modulus + 4 * shear / 3] * 3 + [shear] * 3)
    found = Stiffness(c)
    for moduli in (found.voigt, found.reuss, found.hill):
        assert (moduli.bulk, moduli.shear) == pytest.approx((bulk_modulus, shear))
        assert moduli.young == pytest.approx(9 * 120 * 45 / (3 * 120 + 45))
        assert moduli.poisson == pytest.approx(moduli.young / (2 * shear) - 1)
    assert found.anisotropy == pytest.approx(0)
    assert found.lowest_eigenvalue == pytest.approx(2 * shear)


def test_moduli_of_magnesium_oxide() -> None:
    c = np.zeros((6, 6))
    c[:3, :3] = 95.0
    np.fill_diagonal(c, [297.0] * 3 + [156.0] * 3)
    found = Stiffness(c)
    # Cubic crystals: G_V = (C11 − C12 + 3 C44)/5, G_R = 5 (C11 − C12) C44 / (4 C44 + 3 (C11 − C12))
    assert found.voigt.shear == pytest.approx((297 - 95 + 3 * 156) / 5)
    assert found.reuss.shear == pytest.approx(5 * 202 * 156 / (4 * 156 + 3 * 202))
    assert found.hill.bulk == pytest.approx((297 + 2 * 95) / 3)
    assert found.anisotropy == pytest.approx(5 * found.voigt.shear / found.reuss.shear - 5)


def test_an_unstable_crystal_has_no_lower_bounds() -> None:
    simple = structure_of(bulk("Cu", "sc", a=2.4), "sc")
    found = elastic_constants(simple, emt(), ONE)
    assert not found.stiffness.stable
    assert found.stiffness.lowest_eigenvalue < -1
    assert np.isnan(
        [
            found.stiffness.reuss.bulk,
            found.stiffness.hill.shear,
            found.stiffness.hill.young,
            found.stiffness.anisotropy,
        ]
    ).all()
    assert np.isfinite(found.stiffness.voigt.bulk)


def test_strain_is_lagrangian_and_has_no_rotation() -> None:
    crystal = structure_of(bulk("NaCl", "rocksalt", a=5.64))
    components = np.array([0.01, -0.02, 0.03, 0.02, -0.04, 0.06])
    found = strain(crystal, components)
    gradient = np.linalg.solve(crystal.cell, found.cell)
    np.testing.assert_allclose(gradient, gradient.T, atol=1e-12)
    lagrangian = (gradient.T @ gradient - np.eye(3)) / 2
    np.testing.assert_allclose(lagrangian[ROWS, COLUMNS], components * [1, 1, 1, 0.5, 0.5, 0.5], atol=1e-12)
    np.testing.assert_allclose(found.positions, crystal.positions @ gradient)


class _NoNumbers(Calculator):
    """A calculator that offers no stress by the usual error of ASE."""

    implemented_properties: ClassVar = ["energy", "forces"]

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.zeros((len(self.atoms), 3))}


def _thick_slab() -> Atoms:
    slab = fcc111("Cu", (1, 1, 4), vacuum=6.0)
    slab.pbc = True
    return slab


def _box() -> Atoms:
    return Atoms(molecule("N2"), cell=[12, 12, 12], pbc=True)


def _repulsive() -> EsenCalculator:
    return EsenCalculator(PairPotential(lambda r: 5 * (6 - r) ** 2, cutoff=6.0))


@pytest.mark.parametrize(
    ("atoms", "calculator", "word"),
    [
        (fcc111("Cu", (1, 1, 4), vacuum=6.0), EMT(), "periodic"),
        (molecule("N2"), EMT(), "periodic"),
        (_thick_slab(), EMT(), "vector c"),
        (_box(), EMT(), "vacuum"),
        (Atoms(cell=[3, 3, 3], pbc=True), EMT(), "no atoms"),
        (bulk("Mg"), EMT(), "Mg"),
        (bulk("Au"), _NoNumbers(), "stress"),
        (Atoms("Au", cell=[3, 3, 3], pbc=True), Springs(1.0, 0.1), "stress"),
        (bulk("Cu", cubic=True), _repulsive(), "not the same crystal"),
    ],
)
def test_what_has_no_elastic_constants_is_one_line(atoms: Atoms, calculator: Any, word: str) -> None:
    for cell in (True, False) if word == "stress" else (True,):
        with pytest.raises(InputError, match=word) as caught:
            elastic_constants(
                structure_of(atoms, "given.cif"),
                model_of(calculator),
                replace(ONE, relax=replace(TIGHT, cell=cell)),
            )
        assert str(caught.value).startswith("given.cif: ")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("strains", [(), (0.0,), (-0.01,), (0.2,), (float("nan"),), (0.01, 0.01)])
def test_strains_outside_of_the_linear_range_are_refused(strains: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="strain"):
        ElasticSpec(strains=strains)


def test_the_equation_of_state_gives_back_its_parameters() -> None:
    volume, energy, modulus, derivative = 18.7, -5.9, 160.0, 4.9
    volumes = volume * np.linspace(0.9, 1.08, 8)
    # The pressure form of the same equation, integrated from V0 numerically.
    grid = np.linspace(0, 1, 20001)
    energies = []
    for v in volumes:
        path = volume + grid * (v - volume)
        x = (volume / path) ** (1 / 3)
        pressure = 1.5 * modulus * GPa * (x**7 - x**5) * (1 + 0.75 * (derivative - 4) * (x**2 - 1))
        energies.append(energy - np.trapezoid(pressure, path))
    found = fit_birch_murnaghan(volumes, np.array(energies))
    assert (found.volume, found.energy) == pytest.approx((volume, energy), rel=1e-7)
    assert (found.bulk, found.derivative) == pytest.approx((modulus, derivative), rel=1e-4)
    assert found.rms < 1e-7
    np.testing.assert_allclose(found.energy_at(volumes), energies, atol=1e-7)


def test_the_bulk_modulus_is_that_of_the_elastic_constants() -> None:
    found = elastic_constants(structure_of(bulk("Cu")), emt(), ONE)
    state = equation_of_state(found.reference.structure, emt(), TIGHT, (0.94, 0.97, 1.0, 1.03, 1.06))
    assert state.bulk == pytest.approx(found.stiffness.voigt.bulk, rel=2e-3)
    assert state.volume == pytest.approx(found.reference.structure.volume, rel=1e-4)
    assert state.energy == pytest.approx(found.reference.structure.energy, abs=1e-5)
    assert 3 < state.derivative < 6
    assert state.unconverged == 0


def test_relaxed_shapes_give_the_reuss_bulk_modulus_and_held_shapes_voigts() -> None:
    calculator = Quadratic()
    crystal = structure_of(calculator.atoms_at_rest)
    tight = replace(TIGHT, fmax=1e-6)
    moduli = Stiffness(calculator.relaxed_ion)
    assert moduli.voigt.bulk > 1.05 * moduli.reuss.bulk
    for cell, expected in ((True, moduli.reuss.bulk), (False, moduli.voigt.bulk)):
        ratios = np.linspace(0.98, 1.02, 5).tolist()
        state = equation_of_state(crystal, model_of(calculator), replace(tight, cell=cell), ratios)
        assert state.bulk == pytest.approx(expected, rel=2e-3)
        np.testing.assert_allclose(state.volumes, crystal.volume * np.array(ratios), rtol=1e-9)


def test_a_hexagonal_crystal_keeps_its_symmetry_in_any_setting() -> None:
    soft = model_of(EsenCalculator(lennard_jones(epsilon=0.5)))
    atoms = bulk("Mg", "hcp", a=2.7, c=4.5)
    atoms.set_cell(atoms.cell.array @ Rotation.from_rotvec([1.0, 0.2, -0.4]).as_matrix(), scale_atoms=True)
    found = elastic_constants(structure_of(atoms), soft, ElasticSpec(relax=replace(TIGHT, fmax=1e-4)))
    c = found.standard.matrix
    assert c[5, 5] == pytest.approx((c[0, 0] - c[0, 1]) / 2, rel=1e-3)
    assert [c[1, 1], c[1, 2], c[4, 4]] == pytest.approx([c[0, 0], c[0, 2], c[3, 3]], rel=1e-3)
    assert np.abs(c - found.stiffness.matrix).max() > 1
    assert found.standard.hill.shear == pytest.approx(found.stiffness.hill.shear)


def test_volumes_without_a_minimum_are_refused() -> None:
    volumes = np.linspace(10, 12, 6)
    with pytest.raises(InputError, match="minimum"):
        fit_birch_murnaghan(volumes, -volumes)
    with pytest.raises(InputError, match="5"):
        fit_birch_murnaghan(volumes[:4], volumes[:4])
    with pytest.raises(InputError, match=r"^cu\.cif: .*minimum"):
        equation_of_state(
            structure_of(bulk("Cu", a=3.3), "cu.cif"), emt(), TIGHT, (0.98, 0.99, 1.0, 1.01, 1.02)
        )
