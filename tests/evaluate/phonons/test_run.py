"""One crystal from its unit cell to its phonons."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from esen.errors import InputError
from esen.evaluate.phonons.protocol import PROTOCOLS
from esen.evaluate.phonons.run import phonons_at, primitive_cell, relaxed_crystal, unit_cell
from esen.evaluate.relax import space_group
from tests.evaluate.phonons.crystals import (
    STILL,
    TIGHT,
    copper,
    corundum,
    crystal_of,
    emt,
    model_of,
    sodium_chloride,
)


def test_copper_of_the_issue() -> None:
    crystal, how = relaxed_crystal(copper(3, 3, 3), EMT(), TIGHT)
    assert how.converged and how.groups == (225, 225)
    found = phonons_at(crystal, how, emt(), TIGHT).properties
    free_energy, entropy, heat_capacity = found.thermal.at(300.0)
    assert entropy == pytest.approx(31.078, abs=1e-3)
    assert heat_capacity == pytest.approx(23.368, abs=1e-3)
    assert free_energy == pytest.approx(-1.352, abs=1e-3)
    assert found.max_commensurate / 47.9924307 == pytest.approx(8.141, abs=1e-3)


def test_batches_change_nothing() -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.02, seed=1)
    crystal = crystal_of(atoms)
    together = phonons_at(crystal, None, emt(), STILL).phonopy.force_constants
    single = phonons_at(crystal, None, replace(emt(), batch_atoms=1), STILL).phonopy.force_constants
    np.testing.assert_allclose(together, single, atol=1e-10)


@pytest.mark.parametrize(("atoms", "size", "group"), [(corundum(), 10, 167), (sodium_chloride(), 2, 225)])
def test_primitive_cells_and_back(atoms: Atoms, size: int, group: int) -> None:
    crystal = crystal_of(atoms)
    primitive, place = primitive_cell(crystal)
    assert len(primitive) == size
    assert space_group(primitive, 1e-4) == group
    assert np.bincount(place).tolist() == [len(atoms) // size] * size
    np.testing.assert_array_equal(primitive.numbers[place], atoms.numbers)
    back = unit_cell(crystal, primitive, place)
    np.testing.assert_allclose(back.cell, crystal.unitcell.cell, atol=1e-10)
    np.testing.assert_allclose(back.positions, crystal.unitcell.positions, atol=1e-10)


def test_a_relaxed_primitive_cell_makes_the_unit_cell() -> None:
    crystal = crystal_of(corundum())
    primitive, place = primitive_cell(crystal)
    strain = np.diag([1.02, 1.02, 0.99])
    moved = replace(primitive, cell=primitive.cell @ strain, positions=primitive.positions @ strain)
    moved.positions[3] += [0.05, -0.02, 0.01]
    back = unit_cell(crystal, moved, place)
    np.testing.assert_allclose(back.cell, crystal.unitcell.cell @ strain, atol=1e-10)
    shifts = back.positions - crystal.unitcell.positions @ strain
    expected = np.where((place == 3)[:, None], [0.05, -0.02, 0.01], 0.0)
    np.testing.assert_allclose(shifts, expected, atol=1e-10)


def test_primitive_and_unit_cell_relax_to_the_same() -> None:
    lengths = []
    for protocol in (TIGHT, replace(PROTOCOLS["mdr-fair"], fmax=1e-5)):
        crystal, _ = relaxed_crystal(copper(), EMT(), protocol)
        lengths.append(np.linalg.norm(crystal.unitcell.cell, axis=1))
    np.testing.assert_allclose(*lengths, atol=1e-4)


def test_what_cannot_be_done_is_one_line() -> None:
    crystal = copper()
    with pytest.raises(InputError, match="conservative"):
        phonons_at(crystal, None, emt(), replace(STILL, method="hessian"))
    broken = replace(crystal, primitive=np.eye(3) * 0.3)
    with pytest.raises(InputError, match=r"made: phonopy .*cell"):
        phonons_at(broken, None, model_of(EMT()), STILL)


def test_atoms_that_do_not_feel_each_other_have_no_phonons() -> None:
    far = crystal_of(bulk("Ar", "fcc", a=60.0), 2, 2, 2)
    with pytest.raises(InputError, match="all force constants vanish"):
        phonons_at(far, None, model_of(LennardJones(sigma=3.4, rc=8.0)), STILL)
