"""Relaxing a crystal."""

from typing import Any, ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT

from esen.errors import InputError
from esen.evaluate.relax import RelaxSpec, relax, space_group
from tests.evaluate.phonons.crystals import corundum, sodium_chloride, structure_of


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
    [("raise", "relaxation ended by RuntimeError: no neighbours"), ("nan", "not finite")],
)
def test_broken_calculators_are_one_line(how: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        relax(structure_of(bulk("Cu"), "cu.cif"), _Broken(how), RelaxSpec())
    assert str(caught.value).startswith("cu.cif: ")
    assert "\n" not in str(caught.value)


def test_unknown_elements_are_one_line() -> None:
    with pytest.raises(InputError, match=r"NotImplementedError|KeyError"):
        relax(structure_of(bulk("U", "fcc", a=4.5)), EMT(), RelaxSpec())
