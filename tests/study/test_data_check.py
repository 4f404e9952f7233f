"""`esen data check` from files to verdicts."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from esen.data.readers import Files, Reading
from esen.data.structure import Structure
from esen.data.training_set import MappedFrames
from esen.errors import InputError
from esen.study.data import run_convert
from esen.study.data_check import run_check
from tests.train.small import crystals, write_frames

LENIENT = Reading(required=())


def copper(count: int = 4, scale: float = 1.0) -> list[Structure]:
    """Strained copper with the stress of EMT, times a factor."""
    random = np.random.default_rng(0)
    frames = []
    for _ in range(count):
        atoms: Atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.08, rng=random)
        strain = random.normal(0, 0.03, (3, 3))
        atoms.set_cell(atoms.cell[:] @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
        atoms.calc = EMT()
        labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        stress = scale * atoms.get_stress(voigt=False)
        frames.append(
            Structure(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, **labels, stress=stress)
        )
    return frames


def source(folder: Path, frames: list[Structure]) -> list[Files]:
    return [Files(str(write_frames(folder / "a.xyz", frames)))]


@pytest.mark.parametrize(
    ("scale", "verdict", "words"),
    [
        (
            1.0,
            "ok",
            "eV/Å³ in ASE's sign, as they should be: they explain 100.0% of the finite differences of emt",
        ),
        (-1.0, "wrong", "with the wrong sign"),
        (-1602.1766, "wrong", "kBar in VASP's sign"),
    ],
)
def test_stresses_against_a_potential(tmp_path: Path, scale: float, verdict: str, words: str) -> None:
    result = run_check(
        source(tmp_path, copper(scale=scale)), LENIENT, potential="emt", output=tmp_path / "c.json"
    )
    (row,) = [row for row in result.tables[0] if row["check"] == "stress"]
    assert row["verdict"] == verdict
    assert words in str(row["what was found"])
    assert result.holds == (verdict == "ok")
    assert json.loads((tmp_path / "c.json").read_text())["findings"][-1]["verdict"] == verdict
    if scale < -1:
        assert "stress: write data.stress_convention: vasp_kbar" in result.lines


def test_a_potential_that_knows_none_of_the_elements(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--potential emt"):
        run_check(source(tmp_path, list(crystals(3))), LENIENT, potential="emt")


def test_stresses_without_a_potential(tmp_path: Path) -> None:
    result = run_check(source(tmp_path, list(crystals(3))), LENIENT)
    (row,) = [row for row in result.tables[0] if row["check"] == "stress"]
    assert row["verdict"] == "note"
    assert any("give --potential" in line for line in result.lines)
    bare = [replace(s, stress=None) for s in crystals(3)]
    (row,) = [r for r in run_check(source(tmp_path, bare), LENIENT).tables[0] if r["check"] == "stress"]
    assert row["what was found"] == "there is none to judge"


def test_a_damaged_set_is_not_whole(tmp_path: Path) -> None:
    run_convert(source(tmp_path, list(crystals(3))), tmp_path / "a.esendata", LENIENT)
    again = [Files(str(tmp_path / "a.esendata"))]
    assert run_check(again, LENIENT).holds
    path = tmp_path / "a.esendata" / "shards" / "00000.arrow"
    content = path.read_bytes()
    forces = MappedFrames(tmp_path / "a.esendata")[1].forces
    assert forces is not None
    path.write_bytes(content.replace(forces.tobytes(), (2 * forces).tobytes()))
    result = run_check(again, LENIENT)
    assert not result.holds
    assert any(row["check"] == "files" and row["verdict"] == "wrong" for row in result.tables[0])


def test_a_format_that_fixes_the_unit_of_the_stress_decides(tmp_path: Path) -> None:
    outcar = Path(__file__).parents[1] / "data" / "formats" / "OUTCAR"
    checked = run_check([Files(str(outcar))], LENIENT, output=tmp_path / "c.json")
    assert checked.holds
    (stress,) = [
        f for f in json.loads((tmp_path / "c.json").read_text())["findings"] if f["check"] == "stress"
    ]
    assert stress["verdict"] == "ok"
    both = run_check([Files(str(outcar)), *source(tmp_path, copper())], LENIENT, output=tmp_path / "c.json")
    assert both.holds
    (stress,) = [
        f for f in json.loads((tmp_path / "c.json").read_text())["findings"] if f["check"] == "stress"
    ]
    assert stress["verdict"] == "note"
