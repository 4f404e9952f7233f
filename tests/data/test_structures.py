"""The one reader of structure files."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write

from esen.data.readers.formats import find_files
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


def with_tags(rows: str, **tags: str) -> str:
    """Return a CIF with further tags of the sites."""
    return CIF.replace("_atom_site_occupancy\n", "\n".join(tags.values()) + "\n").format(rows)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (with_tags("Cu1 Cu 0 0 0 1", t="_atom_site_disorder_group"), "_disorder_group: Cu1 in 1"),
        (with_tags("Cu1 Cu 0 0 0 .\nO1 O 0.5 0.5 0.5 -1", t="_atom_site_disorder_group"), "O1 in -1"),
        (with_tags("Cu1 Cu 0 0 0 A", t="_atom_site_disorder_assembly"), "Cu1 in A"),
        (with_tags("Cu1 Cu 0 0 0 .", t="_atom_site_disorder_group"), ""),
        (with_tags("Cu1 Cu 0 0 0 0.5(1)", t="_atom_site_occupancy"), "Cu1 0.5"),
        (with_tags("Cu1 Cu 0 0 0 1.000(2)", t="_atom_site_occupancy"), ""),
        (with_tags("Cu1 Cu 0 0 0 1/2", t="_atom_site_occupancy"), "Cu1 1/2"),
        (with_tags("Cu1 Cu 0 0 0 0,5", t="_atom_site_occupancy"), "Cu1 0,5"),
        (with_tags("Cu1 Cu 0 0 0 '0.5'", t="_atom_site_occupancy"), "Cu1 0.5"),
        (with_tags("Cu1 Cu 0 0 0 nan", t="_atom_site_occupancy"), "Cu1 nan"),
        (with_tags("O1 O 0 0 0 2", t="_atom_site_attached_hydrogens"), "2 H of site O1"),
        (with_tags("O1 O 0 0 0 0", t="_atom_site_attached_hydrogens"), ""),
        (with_tags("O1 O 0 0 0", t="") + "_chemical_formula_sum 'H2 O'\n", "H of the formula have no sites"),
        (with_tags("D1 D 0 0 0", t="") + "_chemical_formula_sum 'D2'\n", ""),
        (with_tags("Cu1 Cu 0 0 0", t="") + "_chemical_formula_sum 'Cu4'\n", ""),
        (with_tags("Cu1 Cu 0 0 0 ?", t="_atom_site_occupancy"), ""),
        (with_tags("Cu1 Cu 0 0 0\nCu2 Cu 0.05 0 0", t=""), "sites Cu1 and Cu2 are 0.195 Å apart"),
        (with_tags("Cu1 Cu 0 0 0\nAu1 Au 0 0 0", t=""), "site Au1 is at the place of Cu"),
    ],
)
def test_disorder_by_other_words_of_a_cif(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.cif").write_text(text)
    if not words:
        ((_, structure),) = read_structures(tmp_path / "a.cif", ":")
        assert set(structure.info) <= {"spacegroup", "unit_cell", "occupancy"}
        return
    with pytest.raises(InputError, match=rf"a\.cif.*{words}"):
        read_structures(tmp_path / "a.cif", ":")


def test_occupancies_of_other_formats(folder: Path) -> None:
    atoms = bulk("Cu", cubic=True)
    for occupancy, words in ((0.5, r"atom 1 \(Cu\) has the occupancy 0.5"), (0.0, ""), (1.0, "")):
        atoms.set_array("occupancy", np.array([occupancy and 1.0, occupancy, 1.0 * bool(occupancy)] * 2)[:4])
        for name in ("o.xyz", "o.pdb"):
            write(folder / name, atoms)
            if words:
                with pytest.raises(InputError, match=words):
                    read_structures(folder / name, ":")
            else:
                assert read_structures(folder / name, ":")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("name", ["a.xyz", "b.cif", "POSCAR", "set.zip"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_encodings(folder: Path, encoding: str, name: str, ends: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""

    def encoded(text: str) -> bytes:
        return (mark + text.replace("\n", ends)).encode(encoding)

    expected = read_structures(folder / name, ":")
    if name == "set.zip":
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("one/a.xyz", encoded((folder / "a.xyz").read_text()))
    else:
        (folder / name).write_bytes(encoded((folder / name).read_text()))
    found = read_structures(folder / name, ":")
    for (_, one), (_, other) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
        assert one.source == other.source


def test_text_in_other_encodings_is_named(folder: Path) -> None:
    for name, old in (("POSCAR", ""), ("a.xyz", "identifier=")):
        text = (folder / name).read_text()
        (folder / name).write_bytes(text.replace(old, f"é{old}", 1).encode("latin-1"))
        with pytest.raises(InputError, match=f"{name}.*is not UTF-8 text .byte 0xe9"):
            read_structures(folder / name, ":")


LAMMPS = """# a comment about an element

2 atoms
2 atom types
0 3.6 xlo xhi
0 3.6 ylo yhi
0 3.6 zlo zhi
{}
Atoms # atomic

1 1 0 0 0
2 2 1.8 1.8 0
"""


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("", "types of atoms but no elements"),
        ("\nMasses\n\n1 1.0\n2 1.0\n", "the mass 1 is of no element"),
        ("\nAtom Type Labels\n\n1 c3\n2 oh\n", "no elements"),
        ("\nMasses\n\n1 63.546  # Cu\n2 15.999\n", ""),
        ("\nAtom Type Labels\n\n1 Cu\n2 O\n", ""),
    ],
)
@pytest.mark.parametrize("name", ["a.lammps-data", "copper.data", "a.lmp", "data.element"])
def test_types_of_lammps_are_not_elements(tmp_path: Path, name: str, section: str, words: str) -> None:
    path = tmp_path / name
    path.write_text(LAMMPS.format(section))
    if not words:
        assert read_structures(path, ":")[0][1].numbers.tolist() == [29, 8]
        return
    with pytest.raises(InputError, match=words):
        read_structures(path, ":")


@pytest.mark.parametrize(("columns", "row"), [("id type x y z", "1 1"), ("id element type x y z", "1 Cu 1")])
def test_types_of_a_dump_are_not_elements(tmp_path: Path, columns: str, row: str) -> None:
    path = tmp_path / "dump.lammpstrj"
    head = "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS pp pp pp\n0 3.6\n0 3.6\n0 3.6\n"
    path.write_text(f"{head}ITEM: ATOMS {columns}\n{row} 0 0 0\n")
    if "element" in columns:
        assert read_structures(path, ":")[0][1].numbers.tolist() == [29]
        return
    with pytest.raises(InputError, match=r"column element"):
        read_structures(path, ":")


def test_rows_of_lammps_are_as_many_as_the_file_says(tmp_path: Path) -> None:
    atoms = "\nMasses\n\n1 63.546\n2 15.999\n"
    head = "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS pp pp pp\n0 3.6\n0 3.6\n0 3.6\n"
    frame = f"{head}ITEM: ATOMS id element x y z\n1 Cu 0 0 0\n"
    texts = {
        "a.data": (
            LAMMPS.format(atoms).replace("2 atoms", "1 atoms"),
            "frame 0: says 1 atoms, but has 2 rows",
        ),
        "b.data": (
            LAMMPS.format(atoms).replace("2 atoms", "3 atoms"),
            "frame 0: says 3 atoms, but has 2 rows",
        ),
        "c.data": (LAMMPS.format(atoms) + "\nVelocities\n\n1 0 0 0\n2 0 0 0\n", ""),
        "a.dump": (frame * 2, ""),
        "b.dump": (frame + frame + "2 Cu 1 1 1\n", "frame 1: says 1 atoms, but has 2 rows"),
        "c.dump": (frame + head, "frame 1: says 1 atoms, but has 0 rows"),
    }
    for name, (text, words) in texts.items():
        (tmp_path / name).write_text(text)
        if not words:
            assert len(read_structures(tmp_path / name, ":")) == 1 + (name == "a.dump")
            continue
        with pytest.raises(InputError, match=words):
            read_structures(tmp_path / name, ":")


@pytest.mark.parametrize(
    "read", [lambda path: read_structures(path, ":"), lambda path: find_files(str(path), Path())]
)
def test_pipes_and_devices(tmp_path: Path, read: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "pipe.xyz")
    (tmp_path / "zero.xyz").symlink_to("/dev/zero")
    for name in ("pipe.xyz", "zero.xyz"):
        with pytest.raises(InputError, match=f"{name}: is a pipe or a device"):
            read(tmp_path / name)


def test_absurd_counts_are_refused_before_reading(tmp_path: Path) -> None:
    cell = "1.0\n4 0 0\n0 4 0\n0 0 4\n"
    texts = {
        "a.lammps-data": LAMMPS.format("").replace("2 atoms", "99999999999 atoms"),
        "a.dump": "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n99999999999\nITEM: ATOMS id type x y z\n1 1 0 0 0\n",
        "XDATCAR": f"x\n{cell}Cu\n99999999999\nDirect configuration=     1\n0 0 0\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=f"{name}.* says 99999999999 atoms"):
            read_structures(tmp_path / name, ":")


CELL = "1.0\n4 0 0\n0 4 0\n0 0 4\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"a slab\n{CELL}1 1\nDirect\n0 0 0\n0.5 0.5 0\n", "line 6 .*no line names the elements"),
        (f"Na Cl\n{CELL}1 1\nDirect\n0 0 0\n0.5 0.5 0\n", ""),
        (f"x\n{CELL}Na Cl\n1 99999999999\nDirect\n0 0 0\n", "line 7 says 100000000000 atoms"),
        (f"x\n{CELL}Na Cl\n1 -1\nDirect\n0 0 0\n", "line 7"),
        (f"x\n{CELL}Na\n0\nDirect\n", "line 7 says 0 atoms"),
        (f"x\n{CELL}Na Cl\n1 1\nS\nDirect\n0 0 0 T F T\n.5 .5 0 F F F\n\n0 0 0\n0 0 0\n", ""),
        (f"x\n{CELL}Na\n1\nS\nDirect\n0 0 0 t f t\n", "line 10 is '0 0 0 t f t'"),
        (f"x\n{CELL}Na\n1\nS\nDirect\n0 0 0 .FALSE. .TRUE. T\n", "line 10"),
        (f"x\n{CELL}Na\n1\nS\nDirect\n0 0 0 F F\n", "line 10"),
        (f"x\n{CELL}Na\n2\nS\nDirect\n0 0 0 F F F\n", "line 7 says 2 atoms.*fewer"),
        (f"x\n{CELL}Na\n1\nDirect\n0 0 0\n.5 .5 0\n", "line 7 says 1 atoms.*more"),
        (f"x\n{CELL}Na Cl\n1 1\nDirect\n0 0 0 Na\n.5 .5 0 Cl\n\n0 0 0\n0 0 0\n", ""),
        (f"x\n{CELL}", "line 6"),
    ],
)
def test_poscars(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "POSCAR").write_text(text)
    (tmp_path / "POTCAR").write_text("   TITEL  = PAW_PBE Cu\n   TITEL  = PAW_PBE Au\n")  # was not named
    if not words:
        assert read_structures(tmp_path / "POSCAR", ":")[0][1].numbers.tolist() == [11, 17]
        return
    with pytest.raises(InputError, match=words):
        read_structures(tmp_path / "POSCAR", ":")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cell": 1e-3 * np.eye(3)}, "atom 0 and its own image"),
        ({"cell": 1e300 * np.eye(3)}, "1e.300 Å"),
        ({"cell": np.full((3, 3), np.nan)}, "not finite"),
        ({"positions": [[0, 0, 1e200]]}, "1e.200 Å"),
        ({"numbers": [0]}, "atomic number 0"),
        ({"cell": [[3, 0, 0], [3000, 3e-3, 0], [0, 0, 3]]}, "no volume"),
    ],
)
def test_impossible_geometries(tmp_path: Path, change: dict[str, np.ndarray], words: str) -> None:
    write(tmp_path / "a.traj", Atoms(**({"numbers": [29], "cell": 3 * np.eye(3), "pbc": True} | change)))
    with pytest.raises(InputError, match=rf"a\.traj, frame 0.*({words})"):
        read_structures(tmp_path / "a.traj", ":")
