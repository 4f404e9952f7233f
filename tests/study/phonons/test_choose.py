"""Which crystals are computed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.io import write

from esen.errors import InputError
from esen.evaluate.phonons.crystal import Known
from esen.evaluate.phonons.protocol import PROTOCOLS
from esen.study.phonons.choose import choose_inputs
from tests.evaluate.phonons.crystals import NACL

FAIR = PROTOCOLS["mdr-fair"]


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("cu.xyz", [bulk("Cu", cubic=True), bulk("Cu", a=3.7, cubic=True)], format="extxyz")
    write("water.xyz", molecule("H2O"), format="extxyz")
    Path("pbe").mkdir()
    Path("pbe/mp-1.yaml").write_bytes(NACL.read_bytes())
    Path("pbe/mp-2.yaml").write_text("nothing: true\n")


def test_files_and_folders_in_their_order() -> None:
    chosen = choose_inputs(["cu.xyz", str(NACL), "pbe", "cu.xyz"], FAIR)
    assert [one.name for one in chosen] == ["cu", "NaCl", "mp-1", "mp-2", "cu-2"]
    assert [one.supercell for one in chosen[:2]] == ["12 Å wide", "the file's"]


def test_frames_and_supercells() -> None:
    chosen = choose_inputs(["cu.xyz"], FAIR, frames=":", supercell="1,2,3")
    assert [one.name for one in chosen] == ["cu#0", "cu#1"]
    crystal = chosen[1].load()
    assert crystal.supercell.tolist() == np.diag([1, 2, 3]).tolist()
    assert crystal.unitcell.cell[0, 0] == pytest.approx(3.7)
    assert choose_inputs(["cu.xyz"], FAIR, min_width=5.0)[0].load().supercell[0, 0] == 2


def test_references_are_measured_or_of_the_index() -> None:
    measured = choose_inputs([str(NACL)], FAIR)[0].load()
    assert measured.known.entropy == pytest.approx(75.074, abs=1e-3)
    assert measured.known.max_frequency == pytest.approx(299.55, abs=0.01)
    row = {"mp_id": "mp-1", "max_freq": 1.0, "entropy": 2.0, "free_energy": 3.0, "heat_capacity": 4.0}
    Path("pbe.json").write_text(json.dumps([row]))
    one, other = choose_inputs(["pbe"], FAIR)
    assert one.known == one.load().known == Known(1.0, 2.0, 3.0, 4.0)
    assert other.known == Known()


def test_what_cannot_be_used_is_told_when_it_is_read() -> None:
    water, broken = (choose_inputs([text], FAIR)[-1] for text in ("water.xyz", "pbe"))
    with pytest.raises(InputError, match="phonons need a crystal"):
        water.load()
    with pytest.raises(InputError, match="phonopy cannot read it"):
        broken.load()


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (["none.cif"], {}, "none.cif: no such file"),
        (["none.yaml"], {}, "none.yaml: no such file"),
        (["cu.xyz"], {"min_width": -1.0}, "--min-width -1: expected a length"),
        (["cu.xyz"], {"min_width": 5.0, "supercell": "2,2,2"}, "--min-width: the supercell is given"),
        (["cu.xyz"], {"frames": "5:"}, "selects nothing"),
        (["pbe"], {"frames": ":"}, "--frames: is for structure files"),
        ([str(NACL)], {"supercell": "2,2,2"}, "--supercell: is for structure files"),
        ([str(NACL)], {"min_width": 9.0}, "--min-width: is for structure files"),
    ],
)
def test_mistakes_are_one_line(inputs: list[str], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        choose_inputs(inputs, FAIR, **options)
    assert message in str(caught.value)
