"""Relaxing a crystal."""

from typing import Any, ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from esen.errors import InputError
from esen.evaluate.relax import RUNAWAY_VOLUME, RelaxSpec, nearest_distances, relax, space_group
from esen.md.calculator import EsenCalculator
from tests.evaluate.phonons.crystals import Springs, corundum, cubic, sodium_chloride, structure_of
from tests.toys import PairPotential, morse


def test_copper_comes_to_its_lattice_constant() -> None:
    start = structure_of(bulk("Cu", a=3.7, cubic=True))
    found = relax(start, EMT(), RelaxSpec(fmax=1e-4))
    assert found.converged and 0 < found.steps < 500
    assert found.structure.cell[0, 0] == pytest.approx(3.590, abs=2e-3)  # EMT's
    assert found.fmax < 1e-4
    assert found.groups == (225, 225)
    assert found.structure.energy is not None and start.energy is None


@pytest.mark.parametrize("optimizer", ["fire", "lbfgs"])
def test_positions_alone(optimizer: Any) -> None:
    atoms = bulk("Cu", a=3.7, cubic=True)
    atoms.rattle(0.05, seed=1)
    start = structure_of(atoms)
    found = relax(start, EMT(), RelaxSpec(cell=False, optimizer=optimizer, fmax=1e-3, symprec=5e-3))
    assert found.converged
    np.testing.assert_array_equal(found.structure.cell, start.cell)
    assert found.groups == (1, 225)


def test_symmetry_is_kept() -> None:
    atoms = bulk("Cu", a=3.7, cubic=True)
    atoms.set_cell([3.6, 3.6, 3.9], scale_atoms=True)
    start = structure_of(atoms)
    kept = relax(start, EMT(), RelaxSpec(keep_symmetry=True, fmax=1e-3, steps=5))
    assert kept.groups == (139, 139)
    assert not kept.converged
    assert kept.steps == 5


def test_molecules_have_no_group_and_no_lattice() -> None:
    found = relax(structure_of(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.4]])), EMT(), RelaxSpec())
    assert found.converged
    assert found.groups == (0, 0)


def test_groups() -> None:
    assert space_group(structure_of(sodium_chloride()), 1e-4) == 225
    assert space_group(structure_of(corundum()), 1e-4) == 167
    together = Atoms("Cu2", [[0, 0, 0], [0, 0, 0]], cell=[3, 3, 3], pbc=True)
    assert space_group(structure_of(together), 1e-4) == 0


class _Broken(Calculator):
    implemented_properties: ClassVar = ["energy", "forces", "stress"]

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def calculate(self, atoms: Any = None, *args: Any) -> None:
        super().calculate(atoms, *args)
        if self.how == "raise":
            raise RuntimeError("no neighbours\nat all")
        self.results = {"energy": np.nan, "forces": np.zeros((len(self.atoms), 3)), "stress": np.zeros(6)}


@pytest.mark.parametrize(
    ("how", "message"),
    [("raise", "RuntimeError: no neighbours"), ("nan", "not finite")],
)
def test_broken_calculators_are_one_line(how: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        relax(structure_of(bulk("Cu"), "cu.cif"), _Broken(how), RelaxSpec())
    assert str(caught.value).startswith("cu.cif: ")
    assert "\n" not in str(caught.value)


def test_unknown_elements_are_one_line() -> None:
    with pytest.raises(InputError, match=r"NotImplementedError|KeyError"):
        relax(structure_of(bulk("U", "fcc", a=4.5)), EMT(), RelaxSpec())


def test_the_lattice_constant_is_that_of_the_equation_of_state() -> None:
    def energy(a: float) -> float:
        atoms = bulk("Cu", a=a)
        atoms.calc = EMT()
        return float(atoms.get_potential_energy())

    lengths = np.linspace(3.57, 3.61, 9)
    slope = np.polyder(np.polyfit(lengths - 3.59, [energy(a) for a in lengths], 4))
    roots = np.roots(slope)
    lowest = 3.59 + float(roots[np.argmin(abs(roots))].real)
    found = relax(structure_of(bulk("Cu", a=3.7)), EMT(), RelaxSpec(fmax=1e-5))
    assert np.linalg.norm(found.structure.cell[0]) * np.sqrt(2) == pytest.approx(lowest, abs=1e-4)
    assert found.volume_ratio == pytest.approx((lowest / 3.7) ** 3, abs=1e-4)
    assert found.energy_before - found.structure.energy == pytest.approx(
        energy(3.7) - energy(lowest), abs=1e-6
    )


def test_both_optimizers_find_the_same_minimum() -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=3)
    fire, lbfgs = (
        relax(structure_of(atoms), EMT(), RelaxSpec(fmax=1e-4, optimizer=name)) for name in ("fire", "lbfgs")
    )
    assert fire.converged
    assert lbfgs.converged
    assert lbfgs.steps < fire.steps
    assert fire.structure.energy == pytest.approx(lbfgs.structure.energy, abs=1e-7)
    assert fire.volume_ratio == pytest.approx(lbfgs.volume_ratio, abs=1e-4)
    assert fire.fmax < 1e-4
    assert fire.fmax_before > 0.1
    assert 0.02 < fire.displacement < 0.2
    furthest = fire.displacement / nearest_distances(structure_of(atoms)).min()
    assert 0.5 * furthest < fire.share < furthest
    assert not fire.melted


def test_the_relaxed_structure_has_its_stress() -> None:
    start = structure_of(bulk("Cu", a=3.7))
    held, free = (relax(start, EMT(), RelaxSpec(cell=cell, fmax=1e-4)) for cell in (False, True))
    assert (held.steps, held.converged) == (0, True)  # one atom, no force
    assert held.structure.stress is not None
    assert held.structure.stress[0, 0] > 0.05  # tension
    assert free.structure.stress is not None
    assert np.abs(free.structure.stress).max() < 1e-4
    assert free.steps > 0


def test_surfaces_relax_within_their_cell() -> None:
    slab = structure_of(fcc111("Cu", (1, 1, 4), vacuum=6.0))
    found = relax(slab, EMT(), RelaxSpec(fmax=1e-3))
    assert found.converged
    np.testing.assert_array_equal(found.structure.cell, slab.cell)
    assert found.structure.stress is not None  # per volume of the cell with its vacuum
    assert np.abs(found.structure.stress[:2, :2]).max() > 1e-3 > np.abs(found.structure.stress[2]).max()
    assert found.volume_ratio == 1.0
    assert 0 < found.displacement < 0.1
    assert not found.melted


def repulsive() -> EsenCalculator:
    return EsenCalculator(PairPotential(lambda r: 5 * (6 - r) ** 2, cutoff=6.0))


@pytest.mark.parametrize("optimizer", ["fire", "lbfgs"])
def test_a_crystal_that_flies_apart_has_melted(optimizer: Any) -> None:
    found = relax(structure_of(bulk("Cu", cubic=True)), repulsive(), RelaxSpec(optimizer=optimizer))
    assert found.melted
    assert found.volume_ratio > 2
    assert found.change.startswith("its volume is ")
    ended = found.converged or found.volume_ratio < 1.3 * RUNAWAY_VOLUME
    assert ended
    assert found.steps < 500


def test_a_runaway_ends_early() -> None:
    class Pulling(Calculator):
        """The same tension whatever the volume is."""

        implemented_properties: ClassVar = ["energy", "forces", "stress"]

        def calculate(
            self, atoms: Any = None, properties: Any = (), system_changes: Any = all_changes
        ) -> None:
            super().calculate(atoms, properties, system_changes)
            volume = self.atoms.get_volume()
            stress = self.sign * np.array([1.0, 1, 1, 0, 0, 0])
            self.results = {
                "energy": self.sign * volume,
                "forces": np.zeros((len(self.atoms), 3)),
                "stress": stress,
            }

    for sign in (1.0, -1.0):
        calculator = Pulling()
        calculator.sign = sign
        found = relax(structure_of(bulk("Cu")), calculator, RelaxSpec())
        ratio = found.volume_ratio**sign
        assert 0.5 / RUNAWAY_VOLUME < ratio <= 1 / RUNAWAY_VOLUME
        assert (found.melted, found.converged) == (True, False)
        assert 0 < found.steps < 500


@pytest.mark.filterwarnings("ignore:.*covalent radii")  # on their way
def test_atoms_that_change_places_have_melted() -> None:
    atoms = bulk("Cu", cubic=True).repeat(2)
    start = structure_of(atoms)
    moved = start.positions.copy()
    moved[0] += 0.2
    gone = relax(structure_of(Atoms(atoms, positions=moved)), EMT(), RelaxSpec(cell=False, fmax=0.02))
    assert gone.displacement == pytest.approx(0.2 * np.sqrt(3), rel=0.2)
    assert (gone.melted, gone.share < 0.5) == (False, True)
    assert gone.change.startswith("its atoms moved by 0.026")
    loose = morse(depth=0.4, distance=2.8)  # pairs in a simple cubic lattice that is too narrow
    shaken = bulk("Cu", "sc", a=2.2).repeat((2, 2, 2))
    shaken.rattle(0.6, seed=0)
    far = relax(structure_of(shaken), EsenCalculator(loose), RelaxSpec(cell=False, fmax=0.05))
    assert far.melted
    assert far.share > 0.5


def test_a_calculator_without_stress_says_so() -> None:
    simple = structure_of(cubic(), "au.cif")
    with pytest.raises(InputError, match=r"^au\.cif: .*Springs .*--no-cell"):
        relax(simple, Springs(1.0, 0.1), RelaxSpec())
    held = relax(simple, Springs(1.0, 0.1), RelaxSpec(cell=False))
    assert held.converged
    assert held.structure.stress is None


def test_no_atoms_are_refused() -> None:
    with pytest.raises(InputError, match=r"none\.xyz: .*no atoms"):
        relax(structure_of(Atoms(cell=[3, 3, 3], pbc=True), "none.xyz"), EMT(), RelaxSpec())


def test_nearest_distances() -> None:
    assert nearest_distances(structure_of(bulk("Cu"))) == pytest.approx(3.61 / np.sqrt(2))
    far = structure_of(Atoms("H3", [[0, 0, 0], [0, 0, 1], [0, 0, 21]]))
    assert nearest_distances(far) == pytest.approx([1, 1, 20])
    assert nearest_distances(structure_of(Atoms("H"))) == pytest.approx([np.inf])
    lost = structure_of(Atoms("H2", [[0, 0, 0], [0, 0, 1e6]]))
    assert nearest_distances(lost) == pytest.approx([1e6, 1e6])


def test_lengths_in_nanometres_are_refused_at_once() -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(atoms.cell / 10, scale_atoms=True)
    with pytest.raises(InputError, match=r"0\.26 Å"):
        relax(structure_of(atoms), EMT(), RelaxSpec())


def test_a_calculator_that_raised_is_used_again() -> None:
    calculator = EMT()
    with pytest.raises(InputError, match=r"EMT.* Mg"):
        relax(structure_of(bulk("Mg")), calculator, RelaxSpec())
    with pytest.raises(InputError, match=r"EMT.* Mg"):  # not a missing neighbour list
        relax(structure_of(bulk("Mg", "fcc", a=4.5)), calculator, RelaxSpec())
    assert relax(structure_of(bulk("Cu")), calculator, RelaxSpec()).converged
