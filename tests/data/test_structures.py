"""The one reader of structure files."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write

from esen.data.structures import read_named_structures, read_structures
from esen.errors import InputError

FORMATS = Path(__file__).parent / "formats"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three frames of different lattice constants, and single structures that only ASE reads."""
    frames = [bulk("NaCl", "rocksalt", a=5.6 + i) for i in range(3)]
    for i, atoms in enumerate(frames):
        atoms.info["identifier"] = f"run-{i}"
        atoms.set_array("tags", np.array([i, 7]))
    write(tmp_path / "a.xyz", frames, format="extxyz")
    write(tmp_path / "a.extxyz.gz", frames, format="extxyz")
    write(tmp_path / "b.cif", frames[0])
    write(tmp_path / "POSCAR", frames[1], format="vasp")
    write(tmp_path / "c.traj", frames)
    write(tmp_path / "c.db", frames)
    write(tmp_path / "c.json", frames)
    write(tmp_path / "w.xyz", molecule("H2O"), format="xyz", comment="energy = -76.4 (a note)")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.write(tmp_path / "a.xyz", "one/a.xyz")
    return tmp_path


@pytest.mark.parametrize("name", ["a.xyz", "a.extxyz.gz", "c.traj", "c.db", "c.json", "set.zip"])
def test_frames_and_their_numbers(folder: Path, name: str) -> None:
    found = read_structures(folder / name, ":")
    assert [number for number, _ in found] == [0, 1, 2]
    assert [s.cell[0, 1] for _, s in found] == pytest.approx([2.8, 3.3, 3.8])
    ((number, last),) = read_structures(folder / name, "-1:")
    assert (number, last.source.rpartition(", ")[2]) == (2, "frame 2")
    assert last.energy is None
    assert last.forces is None


@pytest.mark.parametrize("name", ["a.xyz", "c.traj"])
def test_what_else_the_file_says_is_kept(folder: Path, name: str) -> None:
    ((_, structure),) = read_structures(folder / name, "1:2")
    assert structure.info["identifier"] == "run-1"
    assert structure.arrays["tags"].tolist() == [1, 7]
    assert not {"numbers", "positions"} & set(structure.arrays)


@pytest.mark.parametrize(
    ("name", "numbers", "pbc"),
    [("b.cif", {11, 17}, True), ("POSCAR", {11, 17}, True), ("w.xyz", {1, 8}, False)],
)
def test_single_structures(folder: Path, name: str, numbers: set[int], pbc: bool) -> None:
    ((number, structure),) = read_structures(folder / name, ":1")
    assert (number, set(structure.numbers.tolist()), structure.pbc.all()) == (0, numbers, pbc)


@pytest.mark.parametrize("name", ["md22_layout_GFN2_ethanol.npz", "sample.aselmdb", "mptrj.json", "OUTCAR"])
def test_formats_of_data_sets(name: str) -> None:
    ((_, structure),) = read_structures(FORMATS / name, ":1")
    assert len(structure) > 1
    assert structure.energy is None
    assert structure.forces is None


CIF = """data_x
_cell_length_a 3.9
_cell_length_b 3.9
_cell_length_c 3.9
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'Fm-3m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
{}
"""


@pytest.mark.parametrize(
    ("sites", "words"),
    [
        ("Cu1 Cu 0 0 0 1.0", ""),
        ("Cu1 Cu 0 0 0 0.5\nAu1 Au 0 0 0 0.5", "Cu1 0.5, Au1 0.5"),
        ("Cu1 Cu 0 0 0 0.8", "Cu1 0.8"),
        ("Cu1 Cu 0 0 0 1.0\nCu2 Cu 0.25 0.25 0.25 0.1", "Cu2 0.1"),
    ],
)
def test_disordered_sites_are_refused(tmp_path: Path, sites: str, words: str) -> None:
    (tmp_path / "a.cif").write_text(CIF.format(sites))
    if not words:
        ((_, structure),) = read_structures(tmp_path / "a.cif", ":")
        assert structure.numbers.tolist() == [29] * 4
        return
    with pytest.raises(InputError, match=rf"a\.cif.*{words}"):
        read_structures(tmp_path / "a.cif", ":")


def test_names(folder: Path) -> None:
    for name, frames, expected in (
        ("a.extxyz.gz", ":1", ["a"]),
        ("a.xyz", "1:", ["a#1", "a#2"]),
        ("POSCAR", ":", ["POSCAR"]),
    ):
        assert [name for name, _ in read_named_structures(folder / name, frames)] == expected
    assert [name for name, _ in read_named_structures(folder / "a.xyz", ":2", "x")] == ["x#0", "x#1"]


def test_a_long_file_is_not_read_to_its_end(folder: Path) -> None:
    with (folder / "a.xyz").open("a") as file:
        file.write("2\nthis is no frame\n")
    ((index, structure),) = read_structures(folder / "a.xyz", ":1")
    assert (index, len(structure)) == (0, 2)
    with pytest.raises(InputError, match="frame 3"):
        read_structures(folder / "a.xyz", ":")


@pytest.mark.parametrize(
    ("name", "frames", "words"),
    [
        ("none.xyz", ":1", "no such file"),
        ("", ":1", "folder"),
        ("notes.dat", ":1", "ASE"),
        ("other.json", ":1", "cannot be read"),
        ("empty.xyz", ":1", "empty"),
        ("twice.xyz", ":1", "0.000 Å"),
        ("a.xyz", "7:8", "'7:8'"),
        ("c.traj", "7:8", "'7:8'"),
        ("a.xyz", "first", "slice"),
    ],
)
def test_mistakes_are_one_line(folder: Path, name: str, frames: str, words: str) -> None:
    (folder / "notes.dat").write_text("what I did today")
    (folder / "other.json").write_text("{}")
    (folder / "empty.xyz").touch()
    write(folder / "twice.xyz", Atoms("H2", positions=np.zeros((2, 3))), format="extxyz")
    with pytest.raises(InputError, match=words) as caught:
        read_structures(folder / name, frames)
    assert "\n" not in str(caught.value)
