import gzip
import shutil
from pathlib import Path
from typing import get_args

import pytest

from esen.data.readers import Files, load_structures
from esen.data.readers.formats import ESENDATA, FORMATS, file_format, find_files
from esen.errors import InputError
from esen.recipe.data import SourceFormat

SAMPLES = Path(__file__).parents[1] / "formats"
EXTXYZ = b"1\nProperties=species:S:1:pos:R:3:forces:R:3 energy=-1\nO 0 0 0 0 0 0\n"
BY_NAME = {
    "a.xyz": "extxyz",
    "a.extxyz.xz": "extxyz",
    "MPtrj.json": "mptrj_json",
    "x.aselmdb": "aselmdb",
    "a.db": "ase_db",
    "a.traj": "ase_traj",
    "a.zip": "extxyz_zip",
    "vasprun-001.xml": "vasp",
    "vasprun.xml.gz": "vasp",
    "OUTCAR": "vasp",
    "OUTCAR.bz2": "vasp",
    "si_OUTCAR": "vasp",
    "OUTCAR.3": "vasp",
}


def test_a_recipe_and_the_readers_know_the_same_formats():
    assert set(get_args(SourceFormat)) == {"auto", ESENDATA, *FORMATS}


@pytest.mark.parametrize("name", BY_NAME)
def test_formats_by_name(tmp_path, name):
    (tmp_path / name).touch()
    assert file_format(tmp_path / name) == BY_NAME[name]


@pytest.mark.parametrize(
    ("sample", "kind"),
    [
        ("sample.aselmdb", "aselmdb"),
        ("md22_layout_GFN2_ethanol.npz", "npz"),
        ("mptrj.json", "mptrj_json"),
        ("vasprun.xml", "vasp"),
        ("OUTCAR", "vasp"),
    ],
)
def test_formats_by_content(tmp_path, sample, kind):
    shutil.copy(SAMPLES / sample, tmp_path / "frames")
    assert file_format(tmp_path / "frames") == kind
    assert file_format(SAMPLES / sample) == kind


def test_extended_xyz_by_content(tmp_path):
    (tmp_path / "a.txt").write_bytes(EXTXYZ)
    (tmp_path / "b.gz").write_bytes(gzip.compress(EXTXYZ))
    assert file_format(tmp_path / "a.txt") == "extxyz"
    assert file_format(tmp_path / "b.gz") == "extxyz"


def test_what_cannot_be_told_is_said(tmp_path):
    (tmp_path / "a.dat").write_text("frames?")
    with pytest.raises(InputError, match=r"a\.dat: .*format: .*extxyz, extxyz_zip"):
        file_format(tmp_path / "a.dat")


def test_find_files_sorts_and_skips_folders(tmp_path):
    (tmp_path / "a.xyz").mkdir()
    for name in ("c.xyz", "b.xyz"):
        (tmp_path / name).touch()
    names = [(tmp_path / "b.xyz", "extxyz"), (tmp_path / "c.xyz", "extxyz")]
    assert find_files("*.xyz", tmp_path) == names
    assert find_files(".", tmp_path) == names


def test_a_folder_of_several_formats(tmp_path):
    (tmp_path / "run").mkdir()
    for name in ("OUTCAR", "vasprun.xml"):
        shutil.copy(SAMPLES / name, tmp_path / "run" / name)
    (tmp_path / "relax").mkdir()
    shutil.copy(SAMPLES / "OUTCAR", tmp_path / "relax" / "OUTCAR")
    shutil.copy(SAMPLES / "mptrj.json", tmp_path / "mptrj.json")
    (tmp_path / "settings.json").write_text("{}")
    (tmp_path / "metadata.npz").touch()
    found = [(path.relative_to(tmp_path).as_posix(), kind) for path, kind in find_files(".", tmp_path)]
    assert found == [("mptrj.json", "mptrj_json"), ("relax/OUTCAR", "vasp"), ("run/vasprun.xml", "vasp")]
    assert [path.name for path, _ in find_files(".", tmp_path, "mptrj_json")] == ["mptrj.json"]
    assert len(load_structures([Files(str(tmp_path))])) == 3 + 2 + 2
    with pytest.raises(InputError, match="npz"):
        find_files(".", tmp_path, "npz")


def test_a_format_that_is_given_is_used(tmp_path):
    (tmp_path / "frames.dat").write_bytes(EXTXYZ)
    assert len(load_structures([Files(str(tmp_path / "frames.dat"), "extxyz")])) == 1
    with pytest.raises(InputError, match="LMDB"):
        load_structures([Files(str(tmp_path / "frames.dat"), "aselmdb")])
