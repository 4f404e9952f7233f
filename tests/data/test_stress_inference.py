"""Every common way to write a wrong stress is recognised, by known stresses and by the data's own energies."""

import re
from dataclasses import replace

import numpy as np
import pytest

from esen.data.stress import to_stress
from esen.data.stress_inference import (
    energy_pairs,
    judge_by_energies,
    judge_by_stresses,
    strained_pairs,
    work_of_forces,
)
from esen.data.structure import Structure
from esen.graph.batch import make_graph
from tests.toys import morse
from tests.train.small import CELL, crystals, molecule

GPA = 0.006241509125883258
KBAR = 0.1 * GPA


def in_vasp_order(stress):
    """What is read of XX YY ZZ XY YZ ZX."""
    return to_stress(stress[[0, 1, 2, 0, 1, 2], [0, 1, 2, 1, 2, 0]], "ase", 1.0)


WRONG = {
    "sign": (lambda s, v: -s, "wrong sign", "change the sign"),
    "kBar": (lambda s, v: -s / KBAR, "kBar in VASP's sign", "data.stress_convention: vasp_kbar"),
    "kBar, tension": (
        lambda s, v: s / KBAR,
        "kBar, tension positive",
        "vasp_kbar after a change of the sign",
    ),
    "GPa": (lambda s, v: s / GPA, "GPa, tension positive", "multiplying by −10"),
    "virial": (lambda s, v: -s * v, "virials in eV", "data.stress_convention: virial"),
    "converted twice": (lambda s, v: -s * KBAR, "ASE's sign already", "data.stress_convention: ase"),
    "order": (lambda s, v: in_vasp_order(s), "VASP's order", "reorder them"),
    "kBar and order": (
        lambda s, v: in_vasp_order(-s / KBAR),
        "kBar in VASP's sign .*order",
        "reorder .*vasp_kbar",
    ),
}


def strained(count):
    """A crystal strained at random by about a percent, its atoms nearly at rest, with the labels of a toy."""
    random, potential = np.random.default_rng(0), morse(cutoff=3.5)
    made = []
    for _ in range(count):
        strain = random.normal(0, 0.008, (3, 3))
        cell = CELL @ (np.eye(3) + (strain + strain.T) / 2)
        inside = np.array([[0, 0, 0], [0.5, 0.5, 0.5]]) + random.normal(0, 5e-4, (2, 3))
        bare = Structure(np.array([12, 8]), inside @ cell, cell, np.ones(3, dtype=bool))
        found = potential(make_graph(bare, potential.cutoff))
        labels = {
            "energy": float(found.energy[0]),
            "forces": found.forces.numpy(),
            "stress": found.stress[0].numpy(),
        }
        made.append(replace(bare, **labels))
    return made


STRAINED = strained(12)


def written(frames, how):
    return [replace(s, stress=how(s.stress, s.volume)) for s in frames]


def test_right_stresses_are_right():
    known = [s.stress for s in crystals(6)]
    assert judge_by_stresses(crystals(6), known).verdict == "ok"
    verdict = judge_by_energies(strained_pairs(STRAINED))
    assert verdict.verdict == "ok"
    assert verdict.count > 10
    assert verdict.left[0] < 0.02


@pytest.mark.parametrize(("how", "words", "cure"), WRONG.values(), ids=WRONG)
def test_wrong_stresses_are_named(how, words, cure):
    by_known = judge_by_stresses(written(STRAINED, how), [s.stress for s in STRAINED])
    by_energies = judge_by_energies(strained_pairs(written(STRAINED, how)))
    for verdict in (by_known, by_energies):
        assert verdict.verdict == "wrong"
        assert re.search(words, verdict.words)
        assert re.search(cure, verdict.cure)


def test_a_rough_reference_is_good_enough():
    random = np.random.default_rng(0)
    rough = [0.8 * s.stress + random.normal(0, 0.1 * np.linalg.norm(s.stress), (3, 3)) for s in STRAINED]
    assert judge_by_stresses(STRAINED, rough).verdict == "ok"
    how, words, _ = WRONG["kBar"]
    assert words in judge_by_stresses(written(STRAINED, how), rough).words


def test_noise_decides_nothing():
    random = np.random.default_rng(0)
    noise = [random.normal(0, 0.05, (3, 3)) for _ in STRAINED]
    assert judge_by_stresses(STRAINED, noise).verdict == "undecided"
    mixed = [replace(s, energy=float(random.normal())) for s in STRAINED]
    assert judge_by_energies(strained_pairs(mixed)).verdict == "undecided"
    assert judge_by_energies([]).verdict == judge_by_stresses([], []).verdict == "undecided"


def test_isotropic_stresses_cannot_tell_the_order():
    frames = [replace(s, stress=np.eye(3) * 0.01 * n) for n, s in enumerate(STRAINED, 1)]
    verdict = judge_by_stresses(frames, [s.stress for s in frames])
    assert verdict.verdict == "ok"


def test_pairs_are_near_and_labelled():
    assert strained_pairs([replace(s, stress=None) for s in STRAINED]) == []
    assert strained_pairs([molecule(8, 12)] * 3) == []
    assert energy_pairs(STRAINED) == []  # every cell is another
    far = [
        replace(s, cell=s.cell * (1 + 0.2 * n), positions=s.positions * (1 + 0.2 * n))
        for n, s in enumerate(STRAINED)
    ]
    assert strained_pairs(far) == []


def test_the_work_of_forces_is_the_energy():
    pairs = energy_pairs(crystals(8))
    assert len(pairs) > 3
    for a, b in pairs[:3]:
        assert work_of_forces(a, b) == pytest.approx(b.energy - a.energy, rel=0.3, abs=0.1)
        shifted = replace(b, positions=b.positions + b.cell[0])  # another image of the same crystal
        assert work_of_forces(a, shifted) == pytest.approx(work_of_forces(a, b))
