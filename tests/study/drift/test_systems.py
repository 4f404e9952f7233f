"""From what the user names to what is simulated."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import fcc111
from ase.io import read, write

from esen.errors import InputError
from esen.md.protocols import PROTOCOLS
from esen.study.drift.systems import choose_runs

NOTHING: dict[str, Any] = {
    "data": None,
    "only": None,
    "frames": ":1",
    "supercell": None,
    "temperature_kelvin": None,
    "changes": {},
}


def choose(*structures: str, protocol: str = "quick", **given: Any) -> Any:
    return choose_runs(structures, protocol, **(NOTHING | given))


def test_a_protocol_brings_its_systems() -> None:
    ((protocol, systems),) = choose(only=["Cu", "water"])
    assert protocol == PROTOCOLS["quick"]
    assert [(s.name, s.temperature_kelvin) for s in systems] == [("Cu", 1000.0), ("water", 300.0)]


def test_another_temperature_is_said() -> None:
    ((protocol, (copper,)),) = choose(only=["Cu"], temperature_kelvin=77.0, changes={"seed": 1})
    assert copper.temperature_kelvin == 77.0
    assert protocol.note.startswith(
        "NOT the protocol as published: at 77 K; NOT the protocol as published: seed 1; "
    )


def test_structures_of_ones_own(work: Path) -> None:
    ((protocol, systems),) = choose("cu.xyz", "al.xyz", supercell="2,1,3")
    assert protocol.name == "structures"
    assert [(s.name, len(s.structure), s.temperature_kelvin) for s in systems] == [
        ("cu", 24, 300.0),
        ("al", 6, 300.0),
    ]
    expected = read("cu.xyz").repeat((2, 1, 3))
    np.testing.assert_allclose(systems[0].structure.positions, expected.positions, atol=1e-12)
    np.testing.assert_allclose(systems[0].structure.cell, expected.cell.array, atol=1e-12)
    assert systems[0].structure.numbers.tolist() == expected.numbers.tolist()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"supercell": "2,2"}, "--supercell '2,2'"),
        ({"supercell": "2,0,1"}, "--supercell '2,0,1'"),
        ({"temperature_kelvin": -3.0}, "--temperature -3.0: expected 0 or more, in K"),
        ({"temperature_kelvin": float("nan")}, "--temperature nan"),
        ({"frames": "7:"}, "frames '7:' selects nothing"),
    ],
)
def test_mistakes(work: Path, given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as error:
        choose("cu.xyz", **given)
    assert words in str(error.value)


def test_a_supercell_needs_periods_and_structures(work: Path) -> None:
    slab = fcc111("Al", (1, 1, 2), vacuum=5.0)
    slab.info.clear()
    write("slab.xyz", slab, format="extxyz")
    with pytest.raises(InputError, match="--supercell: lattice vector 3"):
        choose("slab.xyz", supercell="1,1,2")
    with pytest.raises(InputError, match="--supercell: is for --structures"):
        choose(supercell="1,1,2")
