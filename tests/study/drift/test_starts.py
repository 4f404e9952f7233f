"""How systems begin, and that they begin the same when a test goes on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule

from esen.errors import InputError
from esen.md.engine import Start
from esen.md.protocols import PROTOCOLS, Relaxation
from esen.md.systems import System
from esen.md.velocities import maxwell_boltzmann
from esen.study.drift.starts import make_start, make_starts, relaxed
from esen.study.potentials import resolve_potential
from tests.md.small import rattled, same, structure_of

COPPER = System("Cu", structure_of(rattled(bulk("Cu", cubic=True), 0.1)), 400.0)
ALUMINIUM = System("Al", structure_of(rattled(bulk("Al", cubic=True), 0.1)), 400.0)
TM23 = PROTOCOLS["tm23"]


def test_momenta_are_as_the_protocol_says() -> None:
    structure = structure_of(molecule("CH3CH2OH"))
    quick, lambench, fair = (
        make_start(structure, 300.0, PROTOCOLS[name]) for name in ("quick", "lambench", "fair-md22")
    )
    assert np.array_equal(fair.momenta, maxwell_boltzmann(fair.masses, 300.0, 0))
    assert np.abs(fair.momenta.sum(axis=0)).max() > 0.1
    assert np.abs(quick.momenta.sum(axis=0)).max() < 1e-10
    arms = structure.positions - quick.masses @ structure.positions / quick.masses.sum()
    turning = [np.abs(np.cross(arms, s.momenta).sum(axis=0)).max() for s in (quick, lambench)]
    assert turning[0] > 0.1
    assert turning[1] < 1e-10
    other = make_start(structure, 300.0, replace(PROTOCOLS["quick"], seed=1))
    assert not same((other.momenta,), (quick.momenta,))


def test_relaxed_once_and_then_read(tmp_path: Path) -> None:
    emt, kept = resolve_potential("emt"), tmp_path / "starts.npz"
    first = make_starts(emt, TM23, [COPPER, ALUMINIUM], kept)
    for start, system in zip(first, (COPPER, ALUMINIUM), strict=True):
        assert isinstance(start, Start)
        assert np.abs(start.structure.positions - system.structure.positions).max() > 0.01
        forces = relaxed(emt, start.structure, Relaxation(0.05, 0), "x")
        assert same((forces.positions,), (start.structure.positions,))
    broken = resolve_potential("emt")
    broken.calculator.calculate = None  # it is not asked again
    for a, b in zip(first, make_starts(broken, TM23, [COPPER, ALUMINIUM], kept), strict=True):
        assert isinstance(a, Start)
        assert isinstance(b, Start)
        assert same((a.structure.positions, a.momenta), (b.structure.positions, b.momenta))


def test_a_relaxation_that_does_not_end_is_said(caplog: pytest.LogCaptureFixture) -> None:
    relaxed(resolve_potential("emt"), COPPER.structure, Relaxation(1e-9, 1), "Cu")
    assert "Cu: forces are still above 1e-09 eV/Å after 1 steps of relaxation" in caplog.text


def test_damaged_starts_are_one_line(tmp_path: Path) -> None:
    kept = tmp_path / "starts.npz"
    kept.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match=r"starts.npz: damaged"):
        make_starts(resolve_potential("emt"), TM23, [COPPER], kept)
