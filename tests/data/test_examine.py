"""Every fault that is put into good data is found, and nothing in good data."""

from dataclasses import replace

import numpy as np
import pytest

from esen.data.checks import check_structure
from esen.data.examine import examine
from esen.data.frames import as_frames
from tests.train.small import crystals, molecule

GOOD = [replace(s, source=f"a.xyz, frame {n}") for n, s in enumerate(crystals(20))]
UNLABELLED = {"energy": None, "forces": None, "stress": None}


def report(frames, **options):
    return {finding.check: finding for finding in examine(as_frames(frames), **options)}


def spoiled(index, **changes):
    frames = list(GOOD)
    frames[index] = replace(frames[index], **changes)
    return frames


def test_good_data():
    found = report(GOOD)
    assert {f.check for f in found.values() if f.verdict != "ok"} == {
        "references"
    }  # Mg and O are never apart
    assert "the work of forces explains" in found["energies and forces"].found


@pytest.mark.parametrize("name", ["energy", "forces", "stress"])
def test_coverage(name):
    found = report(spoiled(3, **{name: None}))[f"labels: {name}"]
    assert found.verdict == ("note" if name == "stress" else "warning")
    assert "19 of 20 frames" in found.found
    assert "a.xyz, frame 3" in found.found
    nothing = report([replace(s, **{name: None}) for s in GOOD])[f"labels: {name}"]
    assert "0 of 20" in nothing.found
    assert nothing.advice.startswith(f"train with train.loss.{name}: 0")


def test_molecules_need_no_stress():
    found = report([molecule(8, 12), molecule(8), molecule(12)])
    assert found["labels: stress"].verdict == "ok"
    assert "2 frames of one atom" in found["isolated atoms"].found


def test_frames_without_labels_are_described():
    found = report([replace(s, **UNLABELLED) for s in GOOD])
    assert "energies" not in found
    assert "forces" not in found
    assert found["distances"].verdict == "ok"


def test_outliers():
    found = report(spoiled(7, energy=GOOD[7].energy + 40.0))["energies"]
    assert found.verdict == "warning"
    assert "1 frames far off: a.xyz, frame 7 (+20" in found.found
    strong = report(spoiled(4, forces=np.array([[90.0, 0, 0], [-90.0, 0, 0]])))["forces"]
    assert (strong.verdict, "a.xyz, frame 4 (90 eV/Å)" in strong.found) == ("warning", True)


def test_a_net_force():
    found = report([replace(s, forces=s.forces + 0.1) for s in GOOD])["net force"]
    assert found.verdict == "warning"
    assert "in 100% of frames" in found.found


def test_duplicates():
    twice = report([*GOOD, replace(GOOD[2], source="b.xyz, frame 0")])["duplicates"]
    assert twice.verdict == "warning"
    assert "1 frames are exact copies" in twice.found
    other = report([*GOOD, replace(GOOD[2], energy=GOOD[2].energy - 1, source="b.xyz, frame 0")])[
        "duplicates"
    ]
    assert other.verdict == "wrong"
    assert "a.xyz, frame 2 and b.xyz, frame 0" in other.found


def test_lone_atoms():
    far = replace(molecule(8, 12), positions=np.array([[0, 0, 0], [0, 0, 9.0]]), source="c.xyz, frame 0")
    found = report([*GOOD, far])["isolated atoms"]
    assert found.verdict == "note"
    assert "c.xyz, frame 0" in found.found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: {"forces": -s.forces}, "wrong sign"),
        (lambda s: {"forces": 23.06 * s.forces}, "forces are in kcal/mol/Å"),
        (lambda s: {"energy": 23.06 * s.energy}, "energies are in kcal/mol"),
        (lambda s: {"forces": s.forces / 51.42}, "forces are in Hartree/Bohr"),
    ],
)
def test_units_of_energies_and_forces(change, words):
    found = report([replace(s, **change(s)) for s in GOOD])["energies and forces"]
    assert found.verdict == "wrong"
    assert words in found.found


def test_lengths():
    small = [replace(s, positions=s.positions / 10, cell=s.cell / 10) for s in GOOD]
    found = report(small)
    assert found["distances"].verdict == "warning"
    assert found["volumes"].verdict == "note"


def test_impossible_frames_and_a_part_of_many():
    bad = spoiled(0, forces=np.full((2, 3), np.nan))
    found = report(bad, check=lambda s: check_structure(s, 100))["frames"]
    assert found.verdict == "wrong"
    assert "1 of 20 frames are impossible: a.xyz, frame 0: forces" in found.found
    seen = []
    part = report(GOOD, most=5, progress=lambda done, of: seen.append((done, of)))
    assert seen == [(n, 5) for n in range(1, 6)]
    assert "5 of 20 frames" in part["frames"].found
