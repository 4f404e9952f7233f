"""Files of mode-resolved conductivities."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from esen.errors import InputError
from esen.evaluate.conductivity.modes import modes_of
from esen.evaluate.conductivity.reference import (
    ReferenceConductivity,
    read_reference,
    write_reference,
)
from esen.evaluate.conductivity.run import conductivity_at
from tests.evaluate.conductivity.materials import PUBLISHED, coarse_reference, emt, simple_cubic

MODES = [[[1.0, 2.0, 3.0], [4.0, 0.0, 2.0]]]
TABLE: dict[str, dict[str, Any]] = {
    "mp_id": {"0": "mp-1"},
    "frequencies": {"0": [[0.0, 0.0, 0.0], [1.0, 1.0, 2.0]]},
    "qpoints": {"0": [[0.0, 0.0, 0.0], [0.5, 0.0, 0.0]]},
    "temperatures": {"0": [300.0]},
    "weights": {"0": [1, 3]},
    "heat_capacity": {"0": [[[0.0, 0.0, 0.0], [8e-5, 8e-5, 7e-5]]]},
    "q_mesh": {"0": [2, 2, 1]},
    "name": {"0": "SrO"},
    "symm.no": {"0": 225},
    "kappa_TOT_ave": {"0": [3.0]},
    "mode_kappa_TOT_ave": {"0": MODES},
}


def written(folder: Path, table: object, name: str = "reference.json") -> Path:
    path = folder / name
    content = json.dumps(table).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["reference.json", "reference.json.gz"])
def test_the_genuine_layout(name: str, tmp_path: Path) -> None:
    found = read_reference(written(tmp_path, TABLE, name))
    assert list(found) == ["mp-1"]
    one = found["mp-1"]
    assert (one.label, one.space_group, one.mesh) == ("SrO", 225, (2, 2, 1))
    assert (one.kappa.tolist(), one.temperatures.tolist(), one.weights.tolist()) == (
        [3.0],
        [300.0],
        [1.0, 3.0],
    )
    assert one.modes.tolist() == MODES
    assert one.modes.sum() / one.weights.sum() == one.kappa[0]
    assert one.frequencies is not None
    assert one.frequencies.shape == (2, 3)


def test_names_and_tensors_of_matbench_discovery(tmp_path: Path) -> None:
    full = [[[np.diag([k, 2 * k, 0.0]).tolist() for k in point] for point in MODES[0]]]
    table = {
        "material_id": {"7": "mp-1"},
        "kappa_tot_rta": {"7": [[2.0, 3.0, 4.0, 9.0, 9.0, 9.0]]},
        "mode_kappa_tot_rta": {"7": full},
        "mode_weights": {"7": [1, 3]},
        "ph_freqs": {"7": None},
    }
    one = read_reference(written(tmp_path, table))["mp-1"]
    assert one.modes.tolist() == MODES
    assert (one.kappa.tolist(), one.frequencies, one.mesh) == ([3.0], None, None)


def changed(**columns: Any) -> dict[str, Any]:
    return {name: column for name, column in {**TABLE, **columns}.items() if column is not None}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([1, 2], "expected columns of rows"),
        ({}, "has no column mp_id or material_id"),
        (changed(weights=None), "has no column weights or mode_weights"),
        (changed(kappa_TOT_ave={"0": None}), "mp-1 .*a value is missing"),
        (changed(kappa_TOT_ave={"0": [float("nan")]}), "mp-1 .*not finite"),
        (changed(kappa_TOT_ave={"0": [-1.0]}), "mp-1 .*negative"),
        (changed(kappa_TOT_ave={"0": [1.0, 2.0]}), "mp-1 .*2 temperatures"),
        (changed(weights={"0": [1, 2, 3]}), r"mp-1 .*\(1, 2, 3\) .*1 .*3 "),
        (changed(weights={"0": [0, 0]}), "mp-1 .*weights"),
        (changed(mp_id={"0": "mp-1", "1": "mp-2"}), "mp-2 "),
    ],
)
def test_wrong_files_are_one_line(table: object, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"reference\.json: .*{words}") as caught:
        read_reference(written(tmp_path, table))
    assert "\n" not in str(caught.value)


def test_damage_within_a_packed_file_is_one_line(tmp_path: Path) -> None:
    path = written(tmp_path, TABLE, "reference.json.gz")
    content = bytearray(path.read_bytes())
    content[40:80] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(InputError, match="JSON"):
        read_reference(path)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"weights": [1, -3]}, "weights"),
        ({"weights": [1, float("nan")]}, "weights"),
        ({"frequencies": [[0.0, 0.0, 0.0]]}, "frequencies "),
        ({"frequencies": [[0.0, 0.0, 0.0], [1.0, 1.0, float("nan")]]}, "not finite"),
    ],
)
def test_what_cannot_be_compared_is_refused_when_it_is_read(
    columns: dict[str, Any], words: str, tmp_path: Path
) -> None:
    table = TABLE | {key: {"0": value} for key, value in columns.items()}
    with pytest.raises(InputError, match=words):
        read_reference(written(tmp_path, table))


def test_the_same_material_twice(tmp_path: Path) -> None:
    twice = {name: {"0": column["0"], "1": column["0"]} for name, column in TABLE.items()}
    with pytest.raises(InputError, match=r"mp-1 .*twice"):
        read_reference(written(tmp_path, twice))


def test_no_json_at_all(tmp_path: Path) -> None:
    for name, content in (("a.json", b"{"), ("a.json.gz", b"{}"), ("b.json", b"\xff\xff")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="JSON"):
            read_reference(tmp_path / name)
    with pytest.raises(InputError, match="JSON"):
        read_reference(tmp_path / "none.json")


@pytest.mark.parametrize("name", ["own.json", "own.json.gz"])
def test_own_results_come_back_to_the_last_bit(name: str, tmp_path: Path) -> None:
    one = coarse_reference()
    bare = ReferenceConductivity("other", one.temperatures, one.kappa, one.modes, one.weights)
    write_reference(tmp_path / name, [one, bare])
    assert [path.name for path in tmp_path.iterdir()] == [name]
    found = read_reference(tmp_path / name)
    assert list(found) == ["Al", "other"]
    back = found["Al"]
    for key in ("temperatures", "kappa", "modes", "weights", "frequencies", "points", "heat_capacity"):
        np.testing.assert_array_equal(getattr(back, key), getattr(one, key))
    assert (back.mesh, back.label, back.space_group) == ((5, 5, 5), "Al", 225)
    assert (found["other"].frequencies, found["other"].mesh) == (None, None)


def test_modes_of_a_material_sum_to_its_conductivity() -> None:
    one = coarse_reference()
    np.testing.assert_allclose(one.modes.sum(axis=(1, 2)) / one.weights.sum(), one.kappa, rtol=1e-12)


def test_without_a_conductivity_there_is_nothing_to_write() -> None:
    found = conductivity_at(replace(simple_cubic(), mesh=(2, 2, 2)), None, emt(), PUBLISHED)
    assert modes_of(found).frequencies.min() < 0
    assert modes_of(found).as_reference("Cu") is None
