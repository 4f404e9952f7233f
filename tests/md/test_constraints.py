"""Dynamics with fixed atoms and directions, and with masses of a file."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import fcc111
from ase.constraints import FixAtoms, FixCartesian, FixedLine, FixedPlane
from ase.io import write
from ase.md.verlet import VelocityVerlet

from esen.data.atoms import from_atoms
from esen.data.structure import Structure
from esen.errors import InputError
from esen.md.ase_nve import AseNve
from esen.md.calculator import EsenCalculator
from esen.md.engine import Engine, Start
from esen.md.nve import BatchNve
from esen.md.protocols import PROTOCOLS
from esen.md.systems import file_systems
from esen.md.velocities import degrees_of_freedom
from esen.study.drift.simulation import make_start
from tests.toys import morse

OBLIQUE = np.array([1.0, 2.0, 2.0]) / 3
DT = 2.0
EVERY_KIND = (
    FixAtoms([0]),
    FixCartesian([1], mask=(True, False, True)),
    FixedPlane([2], OBLIQUE),
    FixedLine([3], OBLIQUE),
)


def slab(*constraints: Any, masses: Any = None) -> Structure:
    atoms = fcc111("Cu", (1, 2, 4), a=3.6, vacuum=6.0)
    atoms.rattle(0.02, seed=1)
    found = replace(from_atoms(atoms, "slab"), constraints=constraints)
    return found if masses is None else replace(found, masses=np.array(masses, dtype=np.float64))


def start_of(structure: Structure) -> Start:
    return make_start(structure, 600.0, PROTOCOLS["quick"])


def engines(start: Start) -> list[Engine]:
    potential = morse()
    return [BatchNve(potential, [start], DT), AseNve(EsenCalculator(potential), start, DT)]


def energy(engine: Engine) -> float:
    potential, kinetic = engine.observe()
    return float(potential[0] + kinetic[0])


@pytest.mark.parametrize("kind", [0, 1])
def test_what_is_fixed_stays_and_the_energy_is_conserved(kind: int) -> None:
    start = start_of(slab(*EVERY_KIND))
    engine = engines(start)[kind]
    before = energy(engine)
    engine.advance(100)
    after = engine.snapshot(0)
    moved = after.positions - start.structure.positions
    assert np.array_equal(moved[0], np.zeros(3))
    assert np.array_equal(after.momenta[0], np.zeros(3))
    assert np.array_equal(moved[1, [0, 2]], [0, 0])
    assert abs(moved[2] @ OBLIQUE) < 1e-13
    assert np.abs(np.cross(moved[3], OBLIQUE)).max() < 1e-13
    assert np.abs(moved[1:]).max(axis=1).min() > 1e-3
    assert np.abs(after.forces[0]).max() > 1e-3  # as the potential gives them
    assert energy(engine) == pytest.approx(before, abs=2e-4)


def test_both_engines_and_ase_agree() -> None:
    start = start_of(slab(FixAtoms([0, 5]), masses=np.linspace(50, 70, 8)))
    batch, single = engines(start)
    atoms = Atoms(
        start.structure.numbers, start.structure.positions, cell=start.structure.cell, pbc=start.structure.pbc
    )
    atoms.set_masses(np.linspace(50, 70, 8))
    atoms.set_constraint(FixAtoms([0, 5]))
    atoms.set_momenta(start.momenta)
    atoms.calc = EsenCalculator(morse())
    VelocityVerlet(atoms, DT * units.fs).run(25)
    for engine in (batch, single):
        engine.advance(25)
        np.testing.assert_allclose(engine.snapshot(0).positions, atoms.positions, rtol=0, atol=1e-12)


def test_a_system_beside_one_with_constraints_is_not_changed() -> None:
    free, held = start_of(slab()), start_of(slab(*EVERY_KIND))
    alone, together = BatchNve(morse(), [free], DT), BatchNve(morse(), [held, free], DT)
    alone.advance(20)
    together.advance(20)
    assert np.array_equal(alone.snapshot(0).positions, together.snapshot(1).positions)


def test_a_resumed_run_holds_its_atoms() -> None:
    start = start_of(slab(*EVERY_KIND))
    for whole, resumed in zip(engines(start), engines(start), strict=True):
        whole.advance(20)
        saved = whole.save()
        whole.advance(20)
        resumed.restore(saved)
        resumed.advance(20)
        assert np.array_equal(whole.snapshot(0).positions, resumed.snapshot(0).positions)


def test_degrees_of_freedom_and_drift() -> None:
    assert degrees_of_freedom(slab()) == 24
    assert degrees_of_freedom(slab(*EVERY_KIND)) == 24 - 3 - 2 - 1 - 2
    # All atoms may move in the plane alone: the momentum within it is removed, and nothing moves across it.
    flat = start_of(slab(FixCartesian(range(8), mask=(False, False, True))))
    np.testing.assert_allclose(flat.momenta.sum(axis=0), 0, atol=1e-12)
    assert not flat.momenta[:, 2].any()
    # A fixed atom holds the others: their momentum is thermal.
    held = start_of(slab(FixAtoms([0])))
    assert np.abs(held.momenta.sum(axis=0)).min() > 1
    kinetic = (held.momenta**2 / held.masses[:, None]).sum() / 2
    assert kinetic / (degrees_of_freedom(held.structure) * units.kB / 2) == pytest.approx(600, rel=0.6)


def test_heavier_isotopes_are_slower_by_the_root_of_their_masses() -> None:
    usual, heavy = slab(masses=np.full(8, 63.5)), slab(masses=np.full(8, 254.0))
    light, slow = start_of(usual), start_of(heavy)
    np.testing.assert_allclose(slow.momenta, 2 * light.momenta, rtol=1e-12)
    one, other = BatchNve(morse(), [light], DT), BatchNve(morse(), [slow], 2 * DT)
    one.advance(20)
    other.advance(20)
    np.testing.assert_allclose(one.snapshot(0).positions, other.snapshot(0).positions, rtol=0, atol=1e-10)


def test_files_with_rules_for_several_atoms_are_refused_and_velocities_are_named(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from ase.constraints import FixBondLength, FixCom

    atoms = fcc111("Cu", (1, 1, 3), vacuum=5.0)
    atoms.set_momenta(np.ones((3, 3)))
    atoms.set_constraint([FixCom(), FixAtoms([0])])
    write(tmp_path / "a.traj", atoms)
    (system,) = file_systems([str(tmp_path / "a.traj")], ":", 300.0)
    assert [type(c) for c in system.structure.constraints] == [FixAtoms]
    assert "a: velocities" in caplog.text
    atoms.set_constraint(FixBondLength(0, 1))
    write(tmp_path / "b.traj", atoms)
    with pytest.raises(InputError, match="frame 0: dynamics cannot keep FixBondLengths"):
        file_systems([str(tmp_path / "b.traj")], ":", 300.0)
