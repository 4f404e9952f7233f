import gzip
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from esen.errors import InputError
from esen.md.protocols import PROTOCOLS, Relaxation, protocol_runs, protocol_systems
from esen.md.protocols.data_sets import MD22_ATOMS, MD22_KELVIN, MELTING_POINTS

ETHANOL = Path(__file__).parents[1] / "data" / "formats" / "md22_layout_GFN2_ethanol.npz"


def melt(metal: str, count: int = 2) -> list[Atoms]:
    """Frames as TM23 has them: labelled, periodic, of one metal; the lattice constant tells them apart."""
    frames = []
    for i in range(count):
        atoms = bulk(metal, "fcc", a=4.0 + i, cubic=True)
        zero = np.zeros((4, 3))
        atoms.calc = SinglePointCalculator(atoms, energy=-3.0, forces=zero, stress=np.zeros(6))
        frames.append(atoms)
    return frames


def write_md22(folder: Path, name: str, atoms: int) -> None:
    """A file in the layout of sGDML: two conformations of `atoms` carbon atoms, energies in kcal/mol."""
    positions = np.zeros((2, atoms, 3))
    positions[:, :, 0] = 1.5 * np.arange(atoms)
    positions[1] += 7.0
    np.savez(
        folder / f"md22_{name}.npz",
        z=np.full(atoms, 6),
        R=positions,
        E=np.zeros((2, 1)),
        F=np.zeros((2, atoms, 3)),
        name=name,
        e_unit="kcal/mol",
        r_unit="Ang",
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of a user: TM23 unpacked two folders deep, packed and by its older suffix; MD22 at the top."""
    below = tmp_path / "benchmarking_master_collection" / "melt"
    below.mkdir(parents=True)
    write(below / "Cu_melt_nequip_test.xyz", melt("Cu"), format="extxyz")
    write(below / "Cu_cold_nequip_test.xyz", melt("Cu"), format="extxyz")
    write(tmp_path / "Ag_melt_nequip_test.extxyz", melt("Ag"), format="extxyz")
    write(tmp_path / "Hg.xyz", melt("Hg"), format="extxyz")
    with gzip.open(tmp_path / "Hg_melt_nequip_test.xyz.gz", "wb") as packed:
        packed.write((tmp_path / "Hg.xyz").read_bytes())
    write_md22(tmp_path, "DHA", 56)
    write_md22(tmp_path, "double-walled_nanotube", 370)
    write(tmp_path / "md22_AT-AT.xyz", Atoms("C60", [[0, 0, 1.5 * i] for i in range(60)]), format="xyz")
    return tmp_path


def test_numbers_of_the_protocols() -> None:
    table = {p.name: (p.timestep_fs, p.steps, p.record_every, p.headline) for p in PROTOCOLS.values()}
    assert table == {
        "tm23": (5.0, 20_000, 10, "slope"),
        "md22": (1.0, 100_000, 10, "slope"),
        "fair-tm23": (5.0, 20_000, 10, "fair"),
        "fair-md22": (1.0, 100_000, 10, "fair"),
        "lambench": (1.0, 10_000, 100, "lambench"),
        "quick": (1.0, 5_000, 10, "slope"),
    }
    relaxed = {name for name, p in PROTOCOLS.items() if p.relaxation == Relaxation(fmax=0.05, steps=1000)}
    assert relaxed == {"tm23", "md22", "fair-tm23", "fair-md22"}
    assert {name for name, p in PROTOCOLS.items() if not p.remove_momentum} == {"fair-tm23", "fair-md22"}
    assert {name for name, p in PROTOCOLS.items() if p.remove_rotation} == {"lambench"}
    assert all(p.seed == 0 and p.source and "\n" not in p.source + p.note for p in PROTOCOLS.values())


def test_published_temperatures() -> None:
    published = (
        "Ag1235 Au1337 Cd594 Co1768 Cr2180 Cu1358 Fe1811 Hf2506 Hg234 Ir2739 Mn1519 Mo2896 Nb2750 Ni1728 "
        "Os3306 Pd1828 Pt2041 Re3459 Rh2237 Ru2607 Ta3290 Tc2430 Ti1941 V2183 W3695 Zn693 Zr2128"
    )
    assert " ".join(f"{metal}{point:.0f}" for metal, point in MELTING_POINTS.items()) == published
    assert set(MD22_KELVIN) == set(MD22_ATOMS)
    assert sorted(MD22_KELVIN.values()) == [400.0] * 2 + [500.0] * 5
    assert sum(MD22_ATOMS.values()) == 42 + 56 + 87 + 60 + 118 + 148 + 370


def test_tm23_is_found_by_its_names(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    systems = protocol_systems("tm23", data)
    assert {s.name: s.temperature_kelvin for s in systems} == {"Ag": 1543.75, "Cu": 1697.5, "Hg": 292.5}
    for system in systems:
        assert system.structure.cell[0, 0] == 4.0  # the first frame
        assert system.structure.pbc.all()
        assert system.structure.energy is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "24 of 27 systems left out" in record.getMessage()
    assert "Os_melt_nequip_test.xyz" in record.getMessage()
    assert "Cu_melt_nequip_test.xyz" not in record.getMessage()


def test_md22_is_found_by_its_names(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    systems = protocol_systems("md22", data)
    assert {s.name: s.temperature_kelvin for s in systems} == {
        "AT-AT": 500.0,
        "DHA": 500.0,
        "double-walled_nanotube": 400.0,
    }
    assert [len(s.structure) for s in systems] == [60, 56, 370]
    assert all(s.structure.positions.min() == 0.0 for s in systems)
    assert not any(s.structure.pbc.any() for s in systems)
    assert ["4 of 7 systems left out" in r.getMessage() for r in caplog.records] == [True]


def test_a_real_file_of_another_molecule_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copy(ETHANOL, tmp_path / "md22_DHA.npz")
    (system,) = protocol_systems("md22", tmp_path, ["DHA"])
    assert len(system.structure) == 9
    assert system.structure.positions.std() < 2.0  # Å
    assert "9 atoms, but the published DHA has 56" in caplog.text


def test_only_some_systems(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert [s.name for s in protocol_systems("tm23", data, ["hg", "Cu"])] == ["Cu", "Hg"]
    assert not caplog.records
    with pytest.raises(InputError, match=r"Os_melt_nequip_test.xyz"):
        protocol_systems("tm23", data, ["Cu", "Os"])
    with pytest.raises(InputError, match="'Cu'"):
        protocol_systems("md22", data, ["Cu"])


def test_fair_runs_what_is_there(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def found(folder: Path, only: list[str] | None = None) -> dict[str, list[str]]:
        return {p.name: [s.name for s in systems] for p, systems in protocol_runs("fair", folder, only)}

    assert found(data) == {
        "fair-tm23": ["Ag", "Cu", "Hg"],
        "fair-md22": ["AT-AT", "DHA", "double-walled_nanotube"],
    }
    assert found(data, ["Cu", "DHA"]) == {"fair-tm23": ["Cu"], "fair-md22": ["DHA"]}
    assert found(data, ["Cu"]) == {"fair-tm23": ["Cu"]}
    assert found(data, []) == found(data)
    assert found(data / "benchmarking_master_collection") == {"fair-tm23": ["Cu"]}
    assert "fair-md22 left out" in caplog.text
    caplog.clear()
    with pytest.raises(InputError, match=r"fair.*Ag_melt_.* or md22_AT-AT\.npz"):
        (tmp_path / "empty").mkdir()
        found(tmp_path / "empty")
    assert not caplog.records
    with pytest.raises(InputError, match="'H2O'"):
        found(data, ["H2O"])


def test_one_run_of_any_other_protocol(data: Path) -> None:
    ((protocol, systems),) = protocol_runs("tm23", data, ["Ag"])
    assert protocol is PROTOCOLS["tm23"]
    assert [s.name for s in systems] == ["Ag"]
    for ask in (protocol_runs, protocol_systems):
        with pytest.raises(InputError, match=r"'tm32'.* tm23, md22"):
            ask("tm32", data)


def test_missing_data_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "set.zip").write_bytes(b"PK")
    for name, file in (("tm23", "Ag_melt_nequip_test.xyz"), ("md22", "md22_AT-AT.npz")):
        for folder, words in (
            (None, "--data"),
            (tmp_path / "nowhere", "no such folder"),
            (tmp_path / "set.zip", "unpacked"),
            (tmp_path, name),
        ):
            with pytest.raises(InputError, match=words) as caught:
                protocol_systems(name, folder)
            message = str(caught.value)
            assert file in message
            assert "\n" not in message
            assert ("Materials Cloud" if name == "tm23" else "quantum-machine.org") in message


def test_a_file_of_another_metal_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "Cu_melt_nequip_test.xyz", melt("Ag"), format="extxyz")
    with pytest.raises(InputError, match=r"Cu_melt_nequip_test\.xyz, frame 0: .*Ag"):
        protocol_systems("tm23", tmp_path)


def test_lambench_takes_the_files_of_a_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "b.xyz", molecule("C2H6"), format="extxyz")
    write(tmp_path / "a.cif", bulk("NaCl", "rocksalt", a=5.6))
    write(tmp_path / "c.traj", melt("Cu", 3))
    (tmp_path / ".hidden").write_text("")
    (tmp_path / "README.md").write_text("where they come from")
    (tmp_path / "more").mkdir()
    systems = protocol_systems("lambench", tmp_path)
    assert [(s.name, len(s.structure), s.temperature_kelvin) for s in systems] == [
        ("a", 2, 300.0),
        ("b", 8, 300.0),
        ("c", 4, 300.0),
    ]
    assert ["README.md" in r.getMessage() for r in caplog.records] == [True]
    assert [s.name for s in protocol_systems("lambench", tmp_path, ["B"])] == ["b"]
    for folder, words in (
        (None, "--data"),
        (tmp_path / "a.cif", r"a\.cif"),
        (tmp_path / "no", "no such folder"),
        (tmp_path / "more", "more"),
    ):
        with pytest.raises(InputError, match=words):
            protocol_systems("lambench", folder)
