"""From the user's choices to protocols, systems and options."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import fcc111
from ase.io import read, write

from esen.errors import InputError
from esen.md.protocols import PROTOCOLS
from esen.study.drift import DriftOptions, choose_runs
from esen.study.drift.choice import THRESHOLD, USER_STRUCTURES, changed_protocol


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_drift": -1.0}, "--max-drift -1.0"),
        ({"max_drift": math.nan}, "--max-drift nan"),
        ({"frame_every": 0}, "--frame-every 0"),
        ({"batch_atoms": 0}, "--batch-atoms 0"),
        ({"skin": math.inf}, "--skin inf"),
        ({"order_test": 1}, "--order-test 1"),
    ],
)
def test_options_that_cannot_be(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        DriftOptions(**given)


def test_the_threshold_is_the_limit_if_there_is_one() -> None:
    assert DriftOptions().threshold == THRESHOLD
    assert DriftOptions(max_drift=3.0).threshold == 3.0


def test_the_jacobian_needs_frames() -> None:
    assert DriftOptions().frame_format is None
    assert DriftOptions(jacobian=5).frame_format == "extxyz"
    assert DriftOptions(jacobian=5, trajectory="traj").frame_format == "traj"


def test_a_protocol_without_changes_is_the_same() -> None:
    for protocol in (USER_STRUCTURES, *PROTOCOLS.values()):
        assert changed_protocol(protocol, {"seed": None}) == protocol
        same = {"timestep_fs": protocol.timestep_fs, "relax": protocol.relaxation is not None}
        assert changed_protocol(protocol, same) == protocol


def test_the_note_of_a_changed_protocol_lists_the_changes() -> None:
    tm23 = PROTOCOLS["tm23"]
    changed = changed_protocol(tm23, {"duration_ps": 1.0, "seed": 4, "relax": False})
    assert changed.note == (
        f"NOT the protocol as published: duration 1 ps, seed 4, no relaxation; {tm23.note}"
    )
    assert (changed.duration_ps, changed.seed, changed.relaxation) == (1.0, 4, None)
    assert replace(changed, duration_ps=100.0, seed=0, relaxation=tm23.relaxation, note=tm23.note) == tm23
    own = changed_protocol(USER_STRUCTURES, {"timestep_fs": 0.5, "relax": True})
    assert own.note == USER_STRUCTURES.note
    assert own.relaxation == tm23.relaxation
    assert own.steps == 20000


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"timestep_fs": 0.0}, "--timestep 0.0"),
        ({"timestep_fs": -1.0}, "--timestep -1.0"),
        ({"timestep_fs": math.nan}, "--timestep nan"),
        ({"duration_ps": 0.0}, "--duration 0.0"),
        ({"duration_ps": math.inf}, "--duration inf"),
        ({"record_every": 0}, "--record-every 0"),
        ({"duration_ps": 0.0004}, r"--duration 0\.0004"),
        ({"timestep_fs": 30000.0}, r"--duration 10\.0"),
    ],
)
def test_numbers_that_cannot_be(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        changed_protocol(USER_STRUCTURES, given)


def choose(*structures: str, protocol: str = "quick", **given: Any) -> Any:
    return choose_runs(structures, protocol, **({"changes": {}} | given))


def test_a_protocol_brings_its_systems() -> None:
    ((protocol, systems),) = choose(only=["Cu", "water"])
    assert protocol == PROTOCOLS["quick"]
    assert [(s.name, s.temperature_kelvin) for s in systems] == [("Cu", 1000.0), ("water", 300.0)]


def test_the_note_says_that_the_temperature_is_another() -> None:
    ((protocol, (copper,)),) = choose(only=["Cu"], temperature_kelvin=77.0, changes={"seed": 1})
    assert copper.temperature_kelvin == 77.0
    assert "77 K" in protocol.note
    assert "seed 1" in protocol.note


def test_the_users_structures(work: Path) -> None:
    ((protocol, systems),) = choose("cu.xyz", "al.xyz", supercell="2,1,3")
    assert protocol.name == "structures"
    assert [(s.name, len(s.structure), s.temperature_kelvin) for s in systems] == [
        ("cu", 24, 300.0),
        ("al", 6, 300.0),
    ]
    expected = read("cu.xyz").repeat((2, 1, 3))
    np.testing.assert_allclose(systems[0].structure.positions, expected.positions, atol=1e-12)
    np.testing.assert_allclose(systems[0].structure.cell, expected.cell.array, atol=1e-12)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"supercell": "2,2"}, "--supercell '2,2'"),
        ({"temperature_kelvin": -3.0}, "--temperature -3.0"),
        ({"temperature_kelvin": float("nan")}, "--temperature nan"),
        ({"frames": "7:"}, "'7:'"),
    ],
)
def test_mistakes(work: Path, given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        choose("cu.xyz", **given)


def test_a_supercell_needs_periods_and_structures(work: Path) -> None:
    slab = fcc111("Al", (1, 1, 2), vacuum=5.0)
    slab.info.clear()
    write("slab.xyz", slab, format="extxyz")
    with pytest.raises(InputError, match=r"--supercell: .*vector 3"):
        choose("slab.xyz", supercell="1,1,2")
    with pytest.raises(InputError, match=r"--supercell: .*--structures"):
        choose(supercell="1,1,2")
