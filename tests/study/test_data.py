"""`esen data` from files to tables."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from esen.data.readers import Files, Reading
from esen.data.structure import Structure
from esen.errors import InputError
from esen.files import locked
from esen.study.data import run_convert, run_info, run_references
from tests.train.small import crystals, molecule, write_frames

LENIENT = Reading(required=())


def source(folder: Path, frames: list[Structure]) -> list[Files]:
    return [Files(str(write_frames(folder / "a.xyz", frames)))]


def values(rows: list[dict[str, object]], key: str, value: str) -> dict[object, object]:
    return {row[key]: row[value] for row in rows}


def test_info(tmp_path: Path) -> None:
    frames = [*crystals(3), molecule(8, 12, 26), replace(molecule(8), energy=None, forces=None)]
    overview, elements = run_info(source(tmp_path, frames), LENIENT).tables
    found = values(overview, "", "value")
    assert found["frames"] == "5"
    assert found["atoms per frame"] == "1 to 3, median 2"
    assert found["with energy"] == "4 of 5 (80.0%)"
    assert found["with stress"] == "3 of 5 (60.0%)"
    forces = np.concatenate([s.forces.ravel() for s in frames if s.forces is not None])
    assert found["rms force component"] == f"{np.sqrt(np.mean(forces**2)):.4g} eV/Å"
    assert values(elements, "element", "atoms") == {"O": 5, "Mg": 4, "Fe": 1}


def test_info_of_a_set_says_where_it_is_from(tmp_path: Path) -> None:
    files = source(tmp_path, list(crystals(3)))
    made = run_convert(files, tmp_path / "a.esendata", LENIENT)
    assert made.paths == {"training set": tmp_path / "a.esendata"}
    assert "data.train: [{path:" in made.lines[0]
    shown = run_info([Files(str(tmp_path / "a.esendata"))], LENIENT)
    assert shown.tables[0] == run_info(files, LENIENT).tables[0] == made.tables[0]
    assert any(files[0].path in line for line in shown.lines)


def test_references_to_train_with(tmp_path: Path) -> None:
    frames = [molecule(8), molecule(12), molecule(8, 12)]
    result = run_references(source(tmp_path, frames), LENIENT, "least_squares", tmp_path / "r.json")
    assert values(result.tables[0], "element", "fixed by the data") == {"O": "yes", "Mg": "yes"}
    saved = json.loads((tmp_path / "r.json").read_text())
    assert saved["energies"] == pytest.approx({"O": -1.0, "Mg": -1.0})
    assert not any("warning" in line for line in result.lines)
    alone = run_references(source(tmp_path, frames), LENIENT, "isolated_atoms")
    assert values(alone.tables[0], "element", "E0 (eV)") == {"O": "-1.000000", "Mg": "-1.000000"}


def test_references_of_low_rank_name_the_elements(tmp_path: Path) -> None:
    result = run_references(source(tmp_path, [*crystals(3), molecule(26)]), LENIENT, "least_squares")
    assert values(result.tables[0], "element", "fixed by the data") == {"O": "no", "Mg": "no", "Fe": "yes"}
    assert any("O, Mg only in sums (rank 2 of 3)" in line for line in result.lines)


def test_two_conversions_at_once(tmp_path: Path) -> None:
    files, output = source(tmp_path, list(crystals(3))), tmp_path / "a.esendata"
    output.mkdir()
    with locked(output), pytest.raises(InputError, match="another process"):
        run_convert(files, output, LENIENT)
    run_convert(files, output, LENIENT)
    with pytest.raises(InputError, match=r"a\.xyz.*folder"):
        run_convert(files, tmp_path / "a.xyz", LENIENT)
