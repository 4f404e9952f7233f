"""How systems begin, and that they begin the same when a test is resumed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.io import read

from esen.errors import InputError
from esen.md.protocols import PROTOCOLS, Relaxation
from esen.md.velocities import maxwell_boltzmann
from esen.study.drift import DriftOptions
from esen.study.drift.simulation import evenly_spaced, make_start, relaxed
from esen.study.potentials import resolve_potential
from tests.md.small import rattled, same, structure_of
from tests.study.drift.small import drift_of

COPPER = structure_of(rattled(bulk("Cu", cubic=True), 0.1))


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


def test_relaxed_positions_have_no_forces() -> None:
    emt = resolve_potential("emt")
    first = relaxed(emt, COPPER, Relaxation(0.05, 1000))
    assert np.abs(first.positions - COPPER.positions).max() > 0.01
    assert same((relaxed(emt, first, Relaxation(0.05, 0)).positions,), (first.positions,))


def test_a_relaxation_that_does_not_converge_warns(caplog: pytest.LogCaptureFixture) -> None:
    relaxed(resolve_potential("emt"), COPPER, Relaxation(1e-9, 1))
    assert "above 1e-09 eV/Å after 1 steps" in caplog.text


def test_a_resumed_run_reads_the_relaxed_positions(work: Path) -> None:
    how: dict[str, Any] = {"changes": {"relax": True}}
    first = drift_of(["emt"], work / "out", "cu.xyz", **how)
    kept = work / "out" / "emt" / "structures" / "starts.npz"
    before = kept.read_bytes()
    again = drift_of(["emt"], work / "out", "cu.xyz", resume=True, **how)
    assert kept.read_bytes() == before
    assert again.rows == first.rows
    kept.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match=r"starts.npz"):
        drift_of(["emt"], work / "out", "cu.xyz", resume=True, **how)


def test_a_new_run_does_not_read_the_positions_of_another(work: Path) -> None:
    """Of a folder whose manifest was removed."""
    first = drift_of(["emt"], work / "out", "cu.xyz")
    (work / "out" / "manifest.json").unlink()
    drift_of(["emt"], work / "other", "al.xyz")
    for name in ("starts.npz", "al.csv", "al.state.npz"):
        other = work / "other" / "emt" / "structures" / name
        (work / "out" / "emt" / "structures" / name).write_bytes(other.read_bytes())
    again = drift_of(["emt"], work / "out", "cu.xyz")
    assert again.rows == first.rows


def test_a_longer_run_keeps_the_spacing_of_its_frames(work: Path) -> None:
    """A hundredth of 0.4 ps is two steps of 2 fs, of 0.6 ps three."""
    options = DriftOptions(trajectory="extxyz")
    drift_of(["emt"], work / "out", "al.xyz", options=options, changes={"duration_ps": 0.4})
    for duration in (0.5, 0.6):
        longer: dict[str, Any] = {"options": options, "changes": {"duration_ps": duration}}
        drift_of(["emt"], work / "out", "al.xyz", resume=True, **longer)
    frames = read(work / "out" / "emt" / "structures" / "al.extxyz", index=":")
    assert [frame.info["step"] for frame in frames] == list(range(0, 301, 2))


@pytest.mark.parametrize(("rows", "count"), [(101, 5), (34, 5), (3, 5), (1, 5), (51, 2)])
def test_frames_at_even_times(rows: int, count: int) -> None:
    """Evenly spaced frames give every so many frames; those that are dense at first do not count for more."""
    times = 0.002 * np.arange(rows)
    expected = np.unique(np.linspace(0, rows - 1, count + 1).round().astype(int)[1:])
    assert evenly_spaced(times, count).tolist() == expected.tolist()
    dense = np.concatenate([np.linspace(0, times[-1], 97), times[-1] + times[1:]])
    wanted = np.linspace(0, dense[-1], count + 1)[1:]
    spacing = np.diff(dense).max(initial=0)
    assert np.abs(dense[evenly_spaced(dense, count)][:, None] - wanted).min(axis=0).max() <= spacing
