import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from esen.data.checks import check_structure
from esen.errors import InputError
from esen.md.protocols import protocol_systems
from esen.md.protocols.quick import METALS, MOLECULES
from esen.md.systems import System, known_systems
from esen.study.potentials import METALS as EMT_METALS


@pytest.fixture(scope="module")
def systems() -> dict[str, System]:
    return {system.name: system for system in protocol_systems("quick")}


def test_what_there_is(systems: dict[str, System]) -> None:
    assert list(systems) == [*METALS, "MgO", "Ar", *MOLECULES]
    assert {name: len(s.structure) for name, s in systems.items()} == {
        **dict.fromkeys(METALS, 32),
        **{"MgO": 16, "Ar": 32, "water": 3, "methane": 5, "ethanol": 9, "benzene": 12},
    }
    for name, system in systems.items():
        check_structure(system.structure, 100)
        molecule = name in MOLECULES
        assert system.structure.pbc.all() != molecule
        assert system.temperature_kelvin == (60.0 if name == "Ar" else 300.0 if molecule else 1000.0)
        assert system.structure.source.startswith(name)


def test_crystals_are_rattled_about_their_lattices(systems: dict[str, System]) -> None:
    for metal in METALS:
        ideal = bulk(metal, cubic=True).repeat(2)
        moved = systems[metal].structure.positions - ideal.positions
        assert systems[metal].structure.cell == pytest.approx(ideal.cell.array)
        assert np.abs(moved.mean(axis=0)).max() < 1e-12
        assert 0.03 < moved.std() < 0.07
    magnesia = systems["MgO"].structure
    assert magnesia.volume == pytest.approx(8 * 4.212**3 / 4)
    assert sorted(magnesia.numbers.tolist()) == [8] * 8 + [12] * 8


def test_the_same_every_time(systems: dict[str, System]) -> None:
    for again in protocol_systems("quick"):
        assert np.array_equal(again.structure.positions, systems[again.name].structure.positions)


def test_emt_knows_all_metals_and_nothing_else(systems: dict[str, System]) -> None:
    kept, left_out = known_systems(list(systems.values()), EMT_METALS)
    assert [s.name for s in kept] == list(METALS)
    assert [s.name for s in left_out] == ["MgO", "Ar", *MOLECULES]
    copper = systems["Cu"].structure
    atoms = Atoms(copper.numbers, copper.positions, cell=copper.cell, pbc=True, calculator=EMT())
    assert 0.1 < np.abs(atoms.get_forces()).max() < 10.0  # eV/Å: pushed, not torn


def test_some_by_name() -> None:
    assert [s.name for s in protocol_systems("quick", None, ["Water", "cu", "mgo"])] == ["Cu", "MgO", "water"]
    with pytest.raises(InputError, match=r"'argon'.* Al, Ni"):
        protocol_systems("quick", None, ["argon"])
