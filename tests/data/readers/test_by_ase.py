import gzip
import sqlite3
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from esen.data.readers import Files, load_structures
from esen.errors import InputError

FORMATS = Path(__file__).parents[1] / "formats"
GPA = 0.006241509125883258  # eV/Å³


def read(path, **options):
    return load_structures([Files(str(path), **options)])


@pytest.mark.parametrize("name", ["vasprun.xml", "OUTCAR"])
def test_vasp(name):
    first, second = read(FORMATS / name)
    assert first.numbers.tolist() == [12, 8]
    assert first.cell.tolist() == [[4, 0, 0], [0, 5, 0], [1, 0, 6]]
    np.testing.assert_allclose(first.positions, [[0, 0, 0], [2, 2, 0]], atol=1e-6)
    np.testing.assert_allclose(second.positions[1], [2.04, 2, 0], atol=1e-6)
    np.testing.assert_allclose(first.forces, [[0.1, 0.2, -0.3], [-0.1, -0.2, 0.3]], atol=1e-6)
    assert [first.energy, second.energy] == [
        -11.5,
        -11.6,
    ]  # the free energy, whose derivatives the forces are
    assert first.info["energy_zero"] == pytest.approx(-11.45)
    kbar = np.array([[10, 1, 3], [1, 20, 2], [3, 2, 30]])  # compression is positive in VASP
    np.testing.assert_allclose(first.stress, -0.1 * GPA * kbar, rtol=1e-9)
    assert second.source == f"{FORMATS / name}, frame 1"


def test_the_extrapolated_energy_may_be_asked_for():
    assert read(FORMATS / "vasprun.xml", energy_key="energy_zero")[0].energy == pytest.approx(-11.45)


def test_compressed_and_selected(tmp_path):
    path = tmp_path / "vasprun.0.xml.gz"
    path.write_bytes(gzip.compress((FORMATS / "vasprun.xml").read_bytes()))
    assert [s.energy for s in read(path, frames="1:")] == [-11.6]


def test_a_convention_for_other_formats_changes_nothing():
    vasp, plain = (read(FORMATS / "OUTCAR", stress_convention=c)[0].stress for c in ("vasp_kbar", "ase"))
    np.testing.assert_array_equal(vasp, plain)


def test_vasp_that_was_cut_off(tmp_path):
    text = (FORMATS / "vasprun.xml").read_text()
    path = tmp_path / "vasprun.xml"
    path.write_text(text[: text.index("<calculation>") + 20])
    with pytest.raises(InputError) as refusal:
        read(path)
    assert str(refusal.value).startswith(str(path))
    assert "\n" not in str(refusal.value)


def images():
    made = []
    for number in range(3):
        atoms = Atoms(
            "MgO", [[0, 0, 0], [2.1, 0, 0.01 * number]], cell=[4, 5, 6], pbc=[True, True, number < 2]
        )
        values = {"energy": -1.5 - number, "forces": np.full((2, 3), 0.1 * number)}
        if number < 2:
            values["stress"] = np.arange(6) * 1e-3
        atoms.calc = SinglePointCalculator(atoms, **values)
        made.append(atoms)
    return made


def check(structures):
    assert [s.energy for s in structures] == [-1.5, -2.5, -3.5]
    np.testing.assert_allclose(structures[1].forces, 0.1)
    assert structures[0].stress.tolist() == (1e-3 * np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])).tolist()
    assert structures[2].stress is None
    assert structures[2].pbc.tolist() == [True, True, False]


def test_trajectory(tmp_path):
    ase.io.write(tmp_path / "a.traj", images())
    check(read(tmp_path / "a.traj"))
    (tmp_path / "b.traj").write_bytes((tmp_path / "a.traj").read_bytes()[:300])
    with pytest.raises(InputError, match=r"b\.traj"):
        read(tmp_path / "b.traj")


def test_database(tmp_path):
    path = tmp_path / "a.db"
    with ase.db.connect(path) as database:
        for number, atoms in enumerate(images()):
            database.write(atoms, data={"sid": f"s{number}"}, relaxed=True)
    path.chmod(0o444)
    before = path.read_bytes()
    structures = read(path)
    check(structures)
    assert structures[1].info == {"sid": "s1", "relaxed": True}
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.db"]  # no lock, no journal


def test_no_database_of_ase(tmp_path):
    path = tmp_path / "a.db"
    connection = sqlite3.connect(path)
    connection.execute("create table t (x)")
    connection.commit()
    connection.close()
    with pytest.raises(InputError, match=r"a\.db"):
        read(path)
