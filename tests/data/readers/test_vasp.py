"""Steps of VASP that are no labels: of a machine-learned force field, or cut off."""

from pathlib import Path

import pytest

from esen.data.readers import Files, load_structures
from esen.errors import InputError

FORMATS = Path(__file__).parents[1] / "formats"

LEARNED = """
  POSITION                                       TOTAL-FORCE (eV/Angst) (ML)
 -----------------------------------------------------------------------------------
      0.00000      0.00000      0.00000         9.000000      9.000000      9.000000
      2.00000      2.00000      0.00000        -9.000000     -9.000000     -9.000000
 -----------------------------------------------------------------------------------

  ML FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)
  ---------------------------------------------------
  free  energy ML TOTEN  =       -9.00000000 eV

  ML energy  without entropy=       -9.00000000  ML energy(sigma->0) =       -9.00000000

"""
ITERATION = "--------------------------------------- Iteration      2("


def read(path: Path, **options: str) -> list[float | None]:
    return [structure.energy for structure in load_structures([Files(str(path), **options)])]


def outcar(tmp_path: Path, change: tuple[str, str]) -> Path:
    (tmp_path / "OUTCAR").write_text((FORMATS / "OUTCAR").read_text().replace(*change))
    return tmp_path / "OUTCAR"


def xml(tmp_path: Path, change: tuple[str, str]) -> Path:
    (tmp_path / "vasprun.xml").write_text((FORMATS / "vasprun.xml").read_text().replace(*change, 1))
    return tmp_path / "vasprun.xml"


def test_steps_of_a_force_field_are_left_out(tmp_path, caplog):
    path = outcar(tmp_path, (ITERATION, LEARNED + ITERATION))
    assert read(path) == [-11.5, -11.6]
    assert "steps 2 (1 of 3) are of VASP's machine-learned force field" in caplog.text
    text = (FORMATS / "vasprun.xml").read_text()
    first = text[text.index("<scstep>") : text.index("</scstep>") + len("</scstep>")]
    assert read(xml(tmp_path, (first, ""))) == [-11.6]
    assert "steps 1 (1 of 2)" in caplog.text


def test_the_encoding_that_an_xml_file_states(tmp_path):
    path = xml(tmp_path, ("<generator>", "<generator><i>Müller</i>"))
    path.write_bytes(path.read_text().encode("latin-1"))
    assert read(path) == [-11.5, -11.6]
    path.write_bytes(path.read_bytes().decode("latin-1").replace("ISO-8859-1", "UTF-16").encode("utf-16"))
    assert read(path) == [-11.5, -11.6]


def test_only_steps_of_a_force_field(tmp_path):
    text = (FORMATS / "OUTCAR").read_text()
    (tmp_path / "OUTCAR").write_text(text[: text.index("  FORCE on cell")] + LEARNED * 2)
    with pytest.raises(InputError, match=r"no complete ionic step of DFT, but 2 of a machine-learned"):
        read(tmp_path / "OUTCAR")


@pytest.mark.parametrize("name", ["OUTCAR", "vasprun.xml"])
def test_a_step_that_is_cut_off(tmp_path, name):
    text = (FORMATS / name).read_text()
    place = text.rindex("TOTAL-FORCE") if name == "OUTCAR" else text.rindex("</varray>")
    (tmp_path / name).write_text(text[:place])
    with pytest.raises(InputError, match=rf"{name}, frame 1: .*cut off.*frames: ':1'"):
        read(tmp_path / name)
    assert read(tmp_path / name, frames=":1") == [-11.5]


def test_every_place_of_a_cut(tmp_path):
    for name in ("OUTCAR", "vasprun.xml"):
        content = (FORMATS / name).read_bytes()
        for size in range(0, len(content), 211):
            (tmp_path / name).write_bytes(content[:size])
            try:
                energies = read(tmp_path / name)
            except InputError as error:
                assert name in str(error)
            else:
                assert energies == [-11.5, -11.6][: len(energies)]


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (xml, ("<v>       0.10000000", "<v></v><v>       0.10000000")),
        (xml, ("0.10000000       0.20000000      -0.30000000", "0.1")),
        (outcar, ("0.100000      0.200000     -0.300000", "*********")),
        (outcar, ("TOTEN  =      -11.50000000", "TOTEN  =  ************")),
    ],
)
def test_rows_that_are_damaged(tmp_path, make, change):
    path = make(tmp_path, change)
    assert change[0] in (FORMATS / path.name).read_text()
    with pytest.raises(InputError, match=path.name):
        read(path)


def test_hdf5_is_named(tmp_path):
    (tmp_path / "vaspout.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99))
    with pytest.raises(InputError, match=r"vaspout\.h5: is HDF5.*vasprun.xml"):
        read(tmp_path / "vaspout.h5")
