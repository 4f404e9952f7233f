import zipfile
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import atomic_masses
from ase.io import write

from esen.errors import InputError
from esen.md.systems import choose_names, file_systems, known_systems, masses, read_geometries

FORMATS = Path(__file__).parents[1] / "data" / "formats"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Three frames of different lattice constants, and single structures that only ASE reads."""
    frames = [bulk("NaCl", "rocksalt", a=5.6 + i) for i in range(3)]
    paths = {name: str(tmp_path / name) for name in ("run.xyz", "run.extxyz.gz", "b.cif", "POSCAR", "c.traj")}
    write(paths["run.xyz"], frames, format="extxyz")
    write(paths["run.extxyz.gz"], frames, format="extxyz")
    write(paths["b.cif"], frames[0])
    write(paths["POSCAR"], frames[1], format="vasp")
    write(paths["c.traj"], frames)
    return paths


def test_names_come_from_files_and_frames(files: dict[str, str]) -> None:
    chosen = [files[name] for name in ("run.xyz", "b.cif", "POSCAR", "c.traj")]
    assert [s.name for s in file_systems(chosen, ":1", 300.0)] == ["run", "b", "POSCAR", "c"]
    several = file_systems([files["run.xyz"], files["c.traj"]], "1:", 300.0)
    assert [s.name for s in several] == ["run#1", "run#2", "c#1", "c#2"]
    assert [s.structure.cell[0, 1] for s in several] == pytest.approx([3.3, 3.8, 3.3, 3.8])
    assert {s.temperature_kelvin for s in several} == {300.0}
    (last,) = file_systems([files["run.extxyz.gz"]], "-1:", 0.0)
    assert (last.name, last.structure.source.endswith("frame 2")) == ("run", True)


def test_same_names_are_told_apart(files: dict[str, str], tmp_path: Path) -> None:
    for folder in ("x/Cu", "y/Cu"):
        (tmp_path / folder).mkdir(parents=True)
        write(tmp_path / folder / "POSCAR", bulk("Cu"), format="vasp")
    pair = [str(tmp_path / folder / "Cu/POSCAR") for folder in "xy"]
    both = [*pair, files["run.xyz"], files["run.extxyz.gz"], files["b.cif"]]
    names = [s.name for s in file_systems(both, ":1", 300.0)]
    assert names == ["x-Cu-POSCAR", "y-Cu-POSCAR", "run.xyz", "run.extxyz.gz", "b"]


def test_formats_of_data_sets(tmp_path: Path, files: dict[str, str]) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.write(files["run.xyz"], "one/run.xyz")
    given = {
        str(FORMATS / "md22_layout_GFN2_ethanol.npz"): "C2H6O",
        str(FORMATS / "sample.aselmdb"): None,
        str(FORMATS / "mptrj.json"): None,
        str(FORMATS / "OUTCAR"): None,
        str(tmp_path / "set.zip"): "NaCl",
    }
    for file, formula in given.items():
        (system,) = file_systems([file], ":1", 300.0)
        assert system.structure.energy is None
        assert system.structure.forces is None
        if formula:
            assert Atoms(numbers=system.structure.numbers).get_chemical_formula("hill") in (formula, "ClNa")


def test_a_long_file_is_not_read_to_its_end(files: dict[str, str]) -> None:
    with Path(files["run.xyz"]).open("a") as file:
        file.write("2\nthis is no frame\n")
    ((index, structure),) = read_geometries(Path(files["run.xyz"]), ":1")
    assert (index, len(structure)) == (0, 2)
    with pytest.raises(InputError, match="frame 3"):
        read_geometries(Path(files["run.xyz"]), ":")


def test_a_plain_xyz_is_a_molecule(tmp_path: Path) -> None:
    write(tmp_path / "w.xyz", molecule("H2O"), format="xyz", comment="energy = -76.4 (a note)")
    (system,) = file_systems([str(tmp_path / "w.xyz")], ":1", 300.0)
    assert system.structure.numbers.tolist() == [8, 1, 1]
    assert not system.structure.pbc.any()


def test_mistakes_are_one_line(files: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "notes.dat").write_text("what I did today")
    (tmp_path / "other.json").write_text("{}")
    write(tmp_path / "twice.xyz", Atoms("H2", positions=np.zeros((2, 3))), format="extxyz")
    for given, frames, temperature, words in (
        (["none.xyz"], ":1", 300.0, "no such file"),
        ([str(tmp_path)], ":1", 300.0, "is a folder"),
        ([str(tmp_path / "notes.dat")], ":1", 300.0, "ASE cannot read it"),
        ([str(tmp_path / "other.json")], ":1", 300.0, "cannot read it|selects nothing"),
        ([str(tmp_path / "twice.xyz")], ":1", 300.0, "0.000 Å apart"),
        ([files["run.xyz"]], "7:8", 300.0, "selects nothing"),
        ([files["c.traj"]], "7:8", 300.0, "selects nothing"),
        ([files["run.xyz"]], "first", 300.0, "is not a Python slice"),
        ([files["run.xyz"]] * 2, ":1", 300.0, "given 2 times"),
        ([files["run.xyz"]], ":1", -1.0, "temperature: -1.0 K; expected 0 or more"),
        ([files["run.xyz"]], ":1", float("nan"), "temperature: nan K"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            file_systems(given, frames, temperature)
        assert "\n" not in str(caught.value)


def test_known_systems(files: dict[str, str]) -> None:
    salt = file_systems([files["b.cif"]], ":1", 300.0)
    water = file_systems([str(FORMATS / "md22_layout_GFN2_ethanol.npz")], ":1", 300.0)
    both = salt + water
    assert known_systems(both, None) == (both, [])
    assert known_systems(both, (1, 6, 8)) == (water, salt)
    assert known_systems(both, {11, 17, 8}) == (salt, water)  # oxygen alone is not enough
    assert known_systems(both, ()) == ([], both)


def test_masses() -> None:
    assert masses(np.array([1, 29, 118])) == pytest.approx([1.008, 63.546, 294.214], abs=1e-3)
    assert masses(np.arange(1, 119)).tolist() == atomic_masses[1:].tolist()
    for number in (0, 119, -1):
        with pytest.raises(InputError, match=rf"atom 1: no mass .* {number}; expected 1 \(H\) to 118 \(Og\)"):
            masses(np.array([29, number]))


def test_names_that_do_not_exist() -> None:
    with pytest.raises(InputError, match=r"here: has no system 'Xx'; expected Ag, Cu"):
        choose_names("here", ("Ag", "Cu"), ["ag", "Xx"])
