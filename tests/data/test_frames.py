from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esen.data.frames import Facts, FrameList, Mixture, Subset, as_frames, digest
from esen.data.structure import Structure
from tests.strategies import structures

SETS = st.lists(structures(labels=True) | structures(), min_size=1, max_size=5)


def same(one, other):
    for name in Facts.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@given(SETS)
def test_facts_are_those_of_the_structures(frames):
    facts = Facts.of(frames, weight=0.5)
    for i, s in enumerate(frames):
        assert facts.atoms[i] == len(s)
        assert facts.stressed[i] == (s.stress is not None)
        assert facts.periodic[i] == s.pbc.all()
        assert facts.labelled[i] == (s.forces is not None)
        assert facts.weights[i] == 0.5
        assert facts.digests[i].tobytes() == digest(s)
        if s.energy is None:
            assert np.isnan(facts.energies[i])
        else:
            assert facts.energies[i] == s.energy
        if s.forces is not None:
            assert facts.force_squares[i] == pytest.approx((s.forces**2).sum())
            assert facts.largest_forces[i] == pytest.approx(np.linalg.norm(s.forces, axis=1).max())
    assert facts.elements_seen() == sorted({z for s in frames for z in s.numbers.tolist()})
    assert facts.frames_with() == {z: sum(z in s.numbers for s in frames) for z in facts.elements_seen()}


@given(SETS, st.data())
def test_taking_joining_and_composing(frames, data):
    facts = Facts.of(frames)
    indices = data.draw(st.lists(st.integers(0, len(frames) - 1), max_size=6))
    same(facts.take(np.array(indices, dtype=np.int64)), Facts.of([frames[i] for i in indices]))
    same(Facts.joined([facts, facts, facts]), Facts.of(frames * 3))
    known = data.draw(st.sets(st.sampled_from([1, 6, 8, 12, 26])))
    assert facts.within(known).tolist() == [set(s.numbers.tolist()) <= known for s in frames]
    elements = facts.elements_seen()
    tables = list(facts.compositions(elements, chunk=2))
    table = np.concatenate([counts for _, counts in tables])
    assert [rows.start for rows, _ in tables] == list(range(0, len(frames), 2))
    for row, s in zip(table, frames, strict=True):
        assert row.tolist() == np.bincount(s.numbers, minlength=100)[elements].tolist()


def atom(number, energy=None):
    return Structure(
        np.array([number]), np.zeros((1, 3)), np.zeros((3, 3)), np.zeros(3, dtype=bool), energy=energy
    )


@pytest.mark.parametrize(
    "change",
    [
        {"energy": 1.0},
        {"forces": np.ones((1, 3))},
        {"stress": np.eye(3)},
        {"positions": np.ones((1, 3))},
        {"numbers": np.array([2])},
        {"cell": np.eye(3)},
        {"pbc": np.ones(3, dtype=bool)},
    ],
)
def test_the_digest_sees_every_change_but_that_of_names(change):
    assert digest(replace(atom(1), **change)) != digest(atom(1))
    assert digest(replace(atom(1), info={"a": 1}, source="b")) == digest(atom(1))


def test_frames_are_a_sequence():
    frames = as_frames([atom(z, float(z)) for z in range(1, 7)])
    assert as_frames(frames) is frames
    assert frames[-1].energy == 6.0
    assert [s.energy for s in frames] == [1, 2, 3, 4, 5, 6]
    assert [s.energy for s in frames[::-2]] == [6, 4, 2]
    assert frames.energies.tolist() == [1, 2, 3, 4, 5, 6]
    with pytest.raises(IndexError):
        frames[6]


def test_a_mixture_of_subsets():
    light = FrameList([atom(z, float(z)) for z in (1, 2, 3)], weight=0.5)
    heavy = FrameList([atom(z, float(z)) for z in (30, 31)])
    mixture = Mixture([Subset(light, np.array([2, 0, 2])), heavy])
    assert [s.energy for s in mixture] == [3, 1, 3, 30, 31]
    assert mixture.energies.tolist() == [3, 1, 3, 30, 31]
    assert mixture.facts.weights.tolist() == [0.5, 0.5, 0.5, 1, 1]
    assert mixture.atoms.tolist() == [1] * 5
    assert len(Mixture([])) == len(Mixture([]).facts) == 0
