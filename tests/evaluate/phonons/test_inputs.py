"""What a user names."""

import bz2
import gzip
import json
import lzma
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from esen.errors import InputError
from esen.evaluate.phonons.crystal import Known, make_phonopy
from esen.evaluate.phonons.inputs import (
    crystal_of_structure,
    crystal_of_yaml,
    folder_crystals,
    is_phonopy_yaml,
    read_index,
)
from esen.evaluate.phonons.properties import measure
from esen.evaluate.phonons.protocol import PROTOCOLS
from tests.evaluate.phonons.crystals import NACL, corundum, crystal_of, sodium_chloride, structure_of

FAIR = PROTOCOLS["mdr-fair"]


def packed(folder: Path, suffix: str) -> Path:
    path = folder / f"mp-22862.yaml{suffix}"
    content = NACL.read_bytes()
    pack: Any = {".bz2": bz2.compress, ".xz": lzma.compress, ".gz": gzip.compress, "": bytes}[suffix]
    path.write_bytes(pack(content))
    return path


@pytest.mark.parametrize("suffix", ["", ".bz2", ".xz"])
def test_force_sets_give_the_reference(suffix: str, tmp_path: Path) -> None:
    crystal = crystal_of_yaml(packed(tmp_path, suffix), FAIR)
    assert (crystal.name, len(crystal.unitcell)) == ("mp-22862", 8)
    assert crystal.reference is not None
    found = measure(crystal.reference, FAIR)
    free_energy, entropy, heat_capacity = found.thermal.at(300.0)
    assert entropy == pytest.approx(75.074, abs=1e-3)
    assert free_energy == pytest.approx(-6.995, abs=1e-3)
    assert heat_capacity == pytest.approx(48.050, abs=1e-3)
    assert found.max_mdr == pytest.approx(299.55, abs=0.01)
    assert found.max_commensurate == pytest.approx(299.55, abs=0.01)  # at Γ, which both conventions have
    assert found.stable


def test_yaml_without_forces_has_no_reference(tmp_path: Path) -> None:
    text = NACL.read_text()
    path = tmp_path / "bare.yaml"
    path.write_text(text[: text.index("\ndisplacements:")] + "\n")
    crystal = crystal_of_yaml(path, FAIR)
    assert crystal.reference is None
    assert crystal.supercell.tolist() == np.diag([2, 2, 2]).tolist()


@pytest.mark.parametrize("content", [b"nothing: true\n", b"[", b"\xff\xfe"])
def test_other_yaml_is_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"other\.yaml: ") as caught:
        crystal_of_yaml(path, FAIR)
    assert "\n" not in str(caught.value)


def test_names_of_yaml() -> None:
    assert is_phonopy_yaml(Path("mp-1.yml.xz"))
    assert not is_phonopy_yaml(Path("POSCAR"))
    assert not is_phonopy_yaml(Path("yaml.bz2"))


def test_primitive_cells_are_found() -> None:
    assert np.linalg.det(crystal_of(sodium_chloride()).primitive) == pytest.approx(1 / 4)
    assert np.linalg.det(crystal_of(corundum()).primitive) == pytest.approx(1 / 3)


def test_molecules_have_no_phonons() -> None:
    molecule = structure_of(Atoms("CO", [[0, 0, 0], [0, 0, 1.1]]), "co.xyz")
    with pytest.raises(InputError, match=r"co\.xyz: .*crystal"):
        crystal_of_structure(molecule, "co", 12.0, 1e-5)


def test_a_left_handed_cell_is_the_same_crystal() -> None:
    right = structure_of(corundum(), "right.xyz")
    left = replace(right, cell=right.cell[[1, 0, 2]], source="left.xyz")
    assert np.linalg.det(left.cell) < 0
    crystal = crystal_of_structure(left, "left", 5.0, 1e-5)
    assert np.linalg.det(crystal.unitcell.cell) > 0
    assert np.linalg.det(crystal.primitive) == pytest.approx(1 / 3)
    made = make_phonopy(crystal, 1e-5)
    assert made.symmetry.dataset.number == 167


ROWS = [
    {"mp_id": "mp-1", "max_freq": 300.5, "entropy": 75.0, "free_energy": -7.0, "heat_capacity": 48.0},
    {"mp_id": "mp-2", "max_freq": 100.0, "entropy": 1.5, "free_energy": 2.5, "heat_capacity": None},
]
KEYED = {str(row["mp_id"]): {k: v for k, v in row.items() if k != "mp_id"} for row in ROWS}
COLUMNS = {key: {str(i): row[key] for i, row in enumerate(ROWS)} for key in ROWS[0]}
NAMED = {key: {row["mp_id"]: row[key] for row in ROWS} for key in list(ROWS[0])[1:]}
VALUES = [list(row.values()) for row in ROWS]
UNNAMED = [values[1:] for values in VALUES]
LISTS = {key: [row[key] for row in ROWS] for key in ROWS[0]}


def as_csv() -> str:
    lines = [",".join(ROWS[0])]
    lines += [",".join("" if value is None else str(value) for value in row.values()) for row in ROWS]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pbe.json", json.dumps(ROWS)),
        ("pbe.json", json.dumps(KEYED)),
        ("pbe.json", json.dumps(COLUMNS)),
        ("pbe.json", json.dumps(LISTS)),
        ("pbe.json", json.dumps(NAMED)),
        ("pbe.json", json.dumps({"columns": list(ROWS[0]), "index": [0, 1], "data": VALUES})),
        ("pbe.json", json.dumps({"columns": list(ROWS[0])[1:], "index": ["mp-1", "mp-2"], "data": UNNAMED})),
        ("pbe.json", json.dumps({"schema": {}, "data": [{"index": 7, **row} for row in ROWS]})),
        ("pbe.csv", as_csv()),
    ],
)
def test_an_index_in_each_layout(name: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(content)
    assert read_index(path) == {"mp-1": Known(300.5, 75.0, -7.0, 48.0), "mp-2": Known(100.0, 1.5, 2.5, None)}


@pytest.mark.parametrize("content", ["{", "3", '[{"entropy": 1}]', '[{"mp_id": "a", "entropy": "x"}]'])
def test_other_json_is_one_line(content: str, tmp_path: Path) -> None:
    path = tmp_path / "pbe.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"pbe\.json: .*MDR"):
        read_index(path)


def test_folders_with_their_index(tmp_path: Path) -> None:
    files = tmp_path / "pbe" / "0"
    files.mkdir(parents=True)
    path = packed(files, ".bz2")
    assert folder_crystals(tmp_path) == ([path], {})
    (tmp_path / "pbe.json").write_text(json.dumps(ROWS))
    for folder in (tmp_path, tmp_path / "pbe"):
        assert folder_crystals(folder) == ([path], read_index(tmp_path / "pbe.json"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no phonopy yaml"):
        folder_crystals(tmp_path / "empty")
