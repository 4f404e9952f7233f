"""Tests of other environments beside a new one."""

from pathlib import Path

import pytest

from esen.errors import InputError
from esen.study.drift.earlier import earlier_trajectories
from tests.study.drift.small import drift_of


def test_an_earlier_test_is_shown_beside(work: Path) -> None:
    first = drift_of(["emt"], work / "first", "cu.xyz")
    result = drift_of(["emt"], work / "second", "cu.xyz", beside=[work / "first"], changes={"seed": 1})
    assert [t.potential for t in result.trajectories] == ["emt", "emt-2"]
    assert repr(result.trajectories[1].drift) == repr(first.trajectories[0].drift)
    assert result.rows[1] == first.rows[0] | {"potential": "emt-2"}


def test_a_failure_is_still_one(work: Path) -> None:
    first = drift_of(["mine:Springs"], work / "first", calculator_args=["fails_at=20"])
    found = earlier_trajectories(work / "first", [], 0.01)
    assert [(t.potential, t.verdict, t.failure) for t in found] == [
        (t.potential, t.verdict, t.failure) for t in first.trajectories
    ]


def test_what_is_no_finished_test(work: Path) -> None:
    with pytest.raises(InputError, match=r"holds no finished test \(no result.json\)"):
        earlier_trajectories(work, [], 0.01)
    for text in ("{", "[]", "{}", '{"protocols": [], "trajectories": [{}]}'):
        (work / "result.json").write_text(text)
        with pytest.raises(InputError, match=r"result.json: not what esen md-drift writes"):
            earlier_trajectories(work, [], 0.01)
