"""Which materials are computed, and in which sizes."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write

from esen.errors import InputError
from esen.study.conductivity.choose import Wanted, choose_inputs, parse_mesh
from tests.evaluate.conductivity.materials import SILICON
from tests.evaluate.conductivity.test_inputs import FRAMES


def test_files_in_their_order() -> None:
    Path("phonondb.extxyz").write_text(FRAMES)
    found = choose_inputs(["al.xyz", "phonondb.extxyz", str(SILICON), "al.xyz"])
    assert [one.name for one in found] == ["al", "mp-1", "mp-2", "silicon", "al-2"]
    assert [one.of_benchmark for one in found] == [False, True, True, False, False]
    first = found[1].load(1e-5)
    assert (first.name, first.mesh) == ("mp-1", (19, 19, 15))
    assert found[4].load(1e-5).name == "al-2"


def test_sizes_are_for_what_has_none() -> None:
    wanted = Wanted(fc2="3,3,3", fc3_width=5.0, mesh="4,5,6")
    al, silicon = (one.load(1e-5) for one in choose_inputs(["al.xyz", str(SILICON)], wanted))
    assert al.fc2_supercell.tolist() == np.diag([3, 3, 3]).tolist()
    assert al.fc3_supercell.tolist() == np.diag([3, 3, 3]).tolist()  # 5 Å of layers 2.31 Å apart
    assert al.mesh == silicon.mesh == (4, 5, 6)
    assert silicon.fc3_supercell.tolist() == np.diag([2, 2, 2]).tolist()


def test_a_file_of_another_content_is_another_material(tmp_path: Path) -> None:
    def described(*files: str) -> list[str]:
        return [one.described for one in choose_inputs(files)]

    Path("phonondb.extxyz").write_text(FRAMES)
    shutil.copytree(SILICON.parent, "folder")
    yaml = f"folder/{SILICON.name}"
    before = described("al.xyz", "phonondb.extxyz", yaml)
    assert before == described("al.xyz", "phonondb.extxyz", yaml)
    write("al.xyz", bulk("Al", a=4.1), format="extxyz")
    Path("phonondb.extxyz").write_text(FRAMES.replace("19", "11"))
    Path("folder/FORCES_FC3").write_text("other forces")
    after = described("al.xyz", "phonondb.extxyz", yaml)
    assert all(old != new for old, new in zip(before, after, strict=True))


def test_the_first_frame_unless_more_are_asked_for() -> None:
    write("two.xyz", [bulk("Cu"), bulk("Cu", a=3.7)], format="extxyz")
    assert [one.name for one in choose_inputs(["two.xyz"])] == ["two"]
    assert [one.name for one in choose_inputs(["two.xyz"], frames=":")] == ["two#0", "two#1"]
    Path("phonondb.extxyz").write_text(FRAMES)
    assert [one.name for one in choose_inputs(["phonondb.extxyz"], frames="1:")] == ["mp-2"]


def test_one_crystal_is_enough() -> None:
    water, _ = choose_inputs(["water.xyz", "al.xyz"])
    with pytest.raises(InputError, match="needs a crystal"):
        water.load(1e-5)
    with pytest.raises(InputError, match="conductivity needs a crystal"):
        choose_inputs(["water.xyz"])


def test_mistakes() -> None:
    Path("phonondb.extxyz").write_text(FRAMES)
    Path("half.extxyz").write_text(FRAMES.replace("fc2_supercell=", "other="))
    Path("phonopy.yaml").write_text("phonopy:\n  version: 2\n")
    Path("folder").mkdir()
    for inputs, wanted, frames, message in (
        (["none.cif"], Wanted(), None, "none.cif: no such file"),
        (["folder"], Wanted(), None, "folder: is a folder"),
        (["phonopy.yaml"], Wanted(), None, "does not name phono3py"),
        (["half.extxyz"], Wanted(), None, "fc2_supercell"),
        (["al.xyz"], Wanted(fc2="2"), None, "--fc2 '2'"),
        (["al.xyz"], Wanted(fc3="0,1,1"), None, "--fc3 '0,1,1'"),
        (["al.xyz"], Wanted(fc3="2,2,2", fc3_width=8.0), None, "--fc3-width: the supercell is given"),
        (["al.xyz"], Wanted(fc2_width=-1.0), None, "--fc2-width -1: expected a length above 0"),
        (["al.xyz"], Wanted(fc2_width=float("nan")), None, "--fc2-width nan: expected"),
        (["phonondb.extxyz"], Wanted(fc2="2,2,2"), None, "--fc2: is for structure files"),
        (
            ["phonondb.extxyz"],
            Wanted(mesh="2,2,2"),
            None,
            "--mesh: frames of phononDB-PBE-103 have their own",
        ),
        ([str(SILICON)], Wanted(fc3_width=9.0), None, "--fc3-width: is for structure files"),
        ([str(SILICON)], Wanted(), ":", "--frames: is for structure files"),
    ):
        with pytest.raises(InputError, match=message):
            choose_inputs(inputs, wanted, frames=frames)


@pytest.mark.parametrize("text", ["0", "-5", "nan", "inf", "1,2", "1,2,0", "1.5,2,2", "a", ""])
def test_meshes_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match=f"--mesh {text}: expected three whole numbers"):
        parse_mesh(text)
