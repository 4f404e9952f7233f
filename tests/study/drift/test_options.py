"""Choices, and what is refused of them."""

import math
from dataclasses import replace
from typing import Any

import pytest

from esen.errors import InputError
from esen.md.protocols import PROTOCOLS
from esen.study.drift.options import OWN, THRESHOLD, DriftOptions, adapted


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_drift": -1.0}, "--max-drift -1.0: expected a number above 0"),
        ({"max_drift": math.nan}, "--max-drift nan"),
        ({"frame_every": 0}, "--frame-every 0"),
        ({"batch_atoms": 0}, "--batch-atoms 0"),
        ({"skin": math.inf}, "--skin inf"),
        ({"order_test": 1}, "--order-test 1: one timestep shows no order"),
    ],
)
def test_what_cannot_be_chosen(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as error:
        DriftOptions(**given)
    assert str(error.value).startswith(words)


def test_the_threshold_is_the_limit_where_there_is_one() -> None:
    assert DriftOptions().threshold == THRESHOLD
    assert DriftOptions(max_drift=3.0).threshold == 3.0


def test_nothing_is_changed_where_nothing_is_asked() -> None:
    for protocol in (OWN, *PROTOCOLS.values()):
        assert adapted(protocol) == protocol
        same = adapted(protocol, timestep_fs=protocol.timestep_fs, relax=protocol.relaxation is not None)
        assert same == protocol


def test_a_changed_protocol_says_so() -> None:
    tm23 = PROTOCOLS["tm23"]
    changed = adapted(tm23, duration_ps=1.0, seed=4, relax=False)
    assert changed.note == (
        f"NOT the protocol as published: duration_ps 1.0, seed 4, relaxation False; {tm23.note}"
    )
    assert (changed.duration_ps, changed.seed, changed.relaxation) == (1.0, 4, None)
    assert replace(changed, duration_ps=100.0, seed=0, relaxation=tm23.relaxation, note=tm23.note) == tm23
    own = adapted(OWN, timestep_fs=0.5, relax=True)
    assert own.note == OWN.note
    assert own.relaxation == tm23.relaxation
    assert own.steps == 20000


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"timestep_fs": 0.0}, "--timestep 0.0: expected a number above 0"),
        ({"timestep_fs": -1.0}, "--timestep -1.0"),
        ({"timestep_fs": math.nan}, "--timestep nan"),
        ({"duration_ps": 0.0}, "--duration 0.0"),
        ({"duration_ps": math.inf}, "--duration inf"),
        ({"record_every": 0}, "--record-every 0"),
        ({"duration_ps": 0.0004}, "--duration 0.0004: less than one step of 1.0 fs"),
        ({"timestep_fs": 30000.0}, "--duration 10.0: less than one step of 30000.0 fs"),
    ],
)
def test_numbers_that_cannot_be(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as error:
        adapted(OWN, **given)
    assert str(error.value).startswith(words)
