import zipfile

import numpy as np
import pytest

from esen.data.readers import Files, load_structures
from esen.errors import InputError


def text(energy, stress=""):
    return (
        f'1\nLattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3:forces:R:3:magmoms:R:1 '
        f'energy={energy} {stress} material_id=mp-1 mp2020_corrected_energy=-9 pbc="T T T"\nMg 0 0 0 0.1 0.2 0.3 1\n'
    )


def make(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def read(path, **options):
    return load_structures([Files(str(path), **options)])


def test_every_frame_of_every_file(tmp_path):
    stress = 'stress="1 0 0 0 2 0 0 0 3"'
    files = {"mp/mp-2.extxyz": text(-1, stress) + text(-2), "mp/mp-1.extxyz": text(-3), "mp/README": "hello"}
    path = make(tmp_path / "a.zip", files)
    frames = read(path)
    assert [s.energy for s in frames] == [-1, -2, -3]
    assert np.diag(frames[0].stress).tolist() == [1, 2, 3]
    assert frames[1].stress is None
    assert frames[1].source == f"{path}/mp/mp-2.extxyz, frame 1"
    assert frames[2].info["material_id"] == "mp-1"
    assert [s.energy for s in read(path, energy_key="mp2020_corrected_energy")] == [-9, -9, -9]
    assert [s.energy for s in read(path, frames="1:2")] == [-2]
    assert not list(tmp_path.glob("**/*.extxyz"))


def test_bad_zips(tmp_path):
    path = make(tmp_path / "a.zip", {"a.extxyz": text(-1), "b.extxyz": text(-1).replace("0.3", "o.3")})
    with pytest.raises(InputError, match=r"a\.zip/b\.extxyz, frame 0 .*o\.3"):
        read(path)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match=r"a\.zip"):
        read(path)
    with pytest.raises(InputError, match=r"\*\.xyz"):
        read(make(tmp_path / "b.zip", {"a.txt": "x"}))


def test_a_damaged_member(tmp_path):
    path = make(tmp_path / "a.zip", {"a.extxyz": text(-1) * 50})
    content = bytearray(path.read_bytes())
    content[60:64] = b"\x00\x01\x02\x03"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.zip/a\.extxyz"):
        read(path)
