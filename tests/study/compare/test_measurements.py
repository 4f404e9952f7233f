"""What is read from folders, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from esen.errors import InputError
from esen.study.compare import Measurement, Measurements, read_measurements
from tests.study.compare.handmade import UNITS, errors, trajectory, write_cell, write_result


def named(measured: Measurements) -> dict[str, Measurement]:
    """The measurements by name of the quantity, where there is one potential."""
    return {one.quantity: one for one in measured.measurements}


def test_rows_of_several_systems_become_one_number(tmp_path: Path) -> None:
    rows = [
        trajectory(-0.3, "a", wander=1.0),
        trajectory(0.1, "b", wander=7.0, verdict="drifts"),
        trajectory(None, "c", wander=None, verdict="undecided"),
    ]
    write_cell(tmp_path, "default", 0, "md-drift", rows)
    found = named(read_measurements([tmp_path]))
    assert found["drift"].value == pytest.approx(0.2)
    assert found["drift"].unit == "meV/atom/ps"
    assert found["wander"].value == 7.0
    assert found["not_conserved"].value == 2.0
    assert found["drift"].items == ("structures a", "structures b")


def test_a_quantity_without_an_item_of_others_is_marked(tmp_path: Path) -> None:
    write_cell(tmp_path, "default", 0, "md-drift", [trajectory(0.3, "a"), trajectory(0.1, "b")])
    write_cell(
        tmp_path, "direct", 0, "md-drift", [trajectory(0.3, "a"), trajectory(None, "b", verdict="exploded")]
    )
    measured = read_measurements([tmp_path])
    missing = {one.variant: one.missing for one in measured.measurements if one.quantity == "drift"}
    assert missing == {"default": (), "direct": ("structures b",)}
    assert any("direct, seed 0" in remark and "structures b" in remark for remark in measured.remarks)


def test_a_quantity_without_a_value_is_remarked_once_per_variant(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_cell(tmp_path, "default", seed, "md-drift", [trajectory(0.3, "a")])
        write_cell(tmp_path, "bad", seed, "md-drift", [trajectory(None, "a", verdict="exploded")])
    measured = read_measurements([tmp_path])
    assert not [one for one in measured.measurements if (one.variant, one.quantity) == ("bad", "drift")]
    assert [remark for remark in measured.remarks if remark.startswith("bad, seeds 0, 1: no drift")]
    assert not any("default" in remark for remark in measured.remarks)


def test_a_result_of_no_potential_is_remarked(tmp_path: Path) -> None:
    write_cell(tmp_path, "default", 0, "mae", errors(1.0))
    path = write_result(tmp_path / "other", "mae", errors(1.0))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"potentials": {}}))
    assert any("other" in remark for remark in read_measurements([tmp_path]).remarks)


def test_laws_broken_are_counted_and_each_is_known(tmp_path: Path) -> None:
    laws: list[dict[str, Any]] = [
        {"law": "rotation", "value": 0.1, "unit": "eV/Å", "verdict": "fail"},
        {"law": "curl", "value": 1e-9, "unit": "", "verdict": "pass"},
        {"law": "stress", "value": None, "unit": "", "verdict": "not applicable"},
    ]
    write_cell(tmp_path, "default", 0, "check", laws)
    found = named(read_measurements([tmp_path]))
    assert found["laws_broken"].value == 1.0
    assert (found["check.rotation (eV/Å)"].value, found["check.rotation (eV/Å)"].unit) == (0.1, "eV/Å")
    assert found["check.curl"].value == 1e-9
    assert "check.stress" not in found


def test_phonons_by_displacement(tmp_path: Path) -> None:
    rows = [
        {
            "potential": "train",
            "crystal": f"mgo@{size} Å",
            "max_frequency": 900.0 + shift,
            "max_frequency reference": 1000.0,
            "true_max_frequency": 900.0 + shift,
        }
        for size, shift in (("0.01", 0.0), ("0.1", 9.0))
    ]
    write_cell(tmp_path, "default", 0, "phonons", rows, units={"max_frequency": "K"})
    found = named(read_measurements([tmp_path]))
    assert found["phonon_error [0.01 Å]"].value == 100.0
    assert found["phonon_error [0.1 Å]"].value == 91.0
    assert found["displacement_range"].value == pytest.approx(1.0)
    assert found["displacement_range"].unit == "%"


def test_all_other_numbers_are_available(tmp_path: Path) -> None:
    rows = [
        {"potential": "train", "name": "cu", "C11": 100.0, "formula": "Cu", "converged": True},
        {"potential": "train", "name": "al", "C11": 50.0, "formula": "Al", "converged": False},
    ]
    write_cell(tmp_path, "default", 0, "elastic", rows)
    found = named(read_measurements([tmp_path]))
    assert (found["elastic.C11"].value, found["elastic.converged"].value) == (75.0, 0.5)
    assert not {"elastic.formula", "elastic.name"} & found.keys()


def test_two_tests_of_the_same_are_told_apart(tmp_path: Path) -> None:
    for test, slope in (("nve32", 3.0), ("nve64", 0.1)):
        write_cell(tmp_path, "default", 0, "md-drift", [trajectory(slope)], test=test)
    found = named(read_measurements([tmp_path]))
    assert (found["drift [nve32]"].value, found["drift [nve64]"].value) == (3.0, 0.1)
    assert found["drift [nve32]"].symbol.endswith("[nve32]")


def test_tests_without_a_name_are_told_apart_by_their_settings(tmp_path: Path) -> None:
    for dtype, slope in (("float32", 3.0), ("float64", 0.1)):
        rows = [trajectory(slope)]
        write_result(tmp_path / dtype, "md-drift", rows, label="train", dtype=dtype, sha256="a")
    found = named(read_measurements([tmp_path]))
    assert (found["drift [dtype=float32]"].value, found["drift [dtype=float64]"].value) == (3.0, 0.1)


def test_a_test_from_elsewhere_joins_that_of_the_study(tmp_path: Path) -> None:
    settings = {"duration": 10, "devices": {"train": "cpu"}}
    write_cell(
        tmp_path / "study",
        "default",
        0,
        "md-drift",
        [trajectory(1.0)],
        test="nve",
        system="mgo",
        settings=settings,
    )
    other = trajectory(2.0) | {"potential": "emt"}
    write_result(
        tmp_path / "emt", "md-drift", [other], label="emt", settings=settings | {"devices": {"emt": "cpu"}}
    )
    drifts = [one for one in read_measurements([tmp_path]).measurements if one.quantity == "drift"]
    assert {(one.system, one.variant, one.value) for one in drifts} == {
        ("mgo", "default", 1.0),
        ("mgo", "emt", 2.0),
    }


def test_the_same_twice_counts_once_and_is_told(tmp_path: Path) -> None:
    write_cell(tmp_path / "a", "default", 0, "mae", errors(1.0))
    write_cell(tmp_path / "b", "default", 0, "mae", errors(1.0))
    measured = read_measurements([tmp_path, tmp_path / "a"])
    assert len([one for one in measured.measurements if one.quantity == "energy_mae"]) == 1
    assert len([remark for remark in measured.remarks if "count once" in remark]) == 1


def test_two_values_of_the_same_are_refused(tmp_path: Path) -> None:
    first = write_cell(tmp_path / "a", "default", 0, "mae", errors(1.0))
    second = write_cell(tmp_path / "b", "default", 0, "mae", errors(1.1))
    with pytest.raises(InputError, match="leave one of them out") as refused:
        read_measurements([tmp_path])
    assert str(first) in str(refused.value)
    assert str(second) in str(refused.value)


def test_two_units_are_refused(tmp_path: Path) -> None:
    first = write_cell(tmp_path, "default", 0, "mae", errors(1.0))
    second = write_cell(tmp_path, "direct", 0, "mae", errors(1.0), units=UNITS | {"energy_mae": "eV/atom"})
    with pytest.raises(InputError, match="eV/atom") as refused:
        read_measurements([tmp_path])
    assert str(first) in str(refused.value)
    assert str(second) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"command": "mae", "potentials": 3, "columns": [], "rows": []}', "\x00", "[" * 9999],
)
def test_a_damaged_result_is_named_in_one_line(tmp_path: Path, text: str) -> None:
    write_cell(tmp_path, "default", 0, "mae", errors(1.0)).write_text(text)
    with pytest.raises(InputError, match=r"result\.json") as refused:
        read_measurements([tmp_path])
    assert "\n" not in str(refused.value)


def test_a_file_of_another_program_is_left_out_and_named(tmp_path: Path) -> None:
    write_cell(tmp_path, "default", 0, "mae", errors(1.0))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "result.json").write_text("{}")
    assert any("other" in remark for remark in read_measurements([tmp_path]).remarks)


def test_folders_without_results_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no results"):
        read_measurements([tmp_path])
    with pytest.raises(InputError, match="no such folder"):
        read_measurements([tmp_path / "missing"])
    file = write_cell(tmp_path, "default", 0, "mae", errors(1.0))
    with pytest.raises(InputError, match="is a file"):
        read_measurements([file])
    (tmp_path / "empty").mkdir()
    folders = [tmp_path, tmp_path / "empty", file.parent]
    assert read_measurements(folders).remarks == [f"{tmp_path.resolve() / 'empty'}: no results"]


@pytest.mark.parametrize("text", ["NaN", "Infinity", "null", '"high"', "true"])
def test_what_is_no_number_is_no_value(tmp_path: Path, text: str) -> None:
    path = write_cell(tmp_path, "default", 0, "mae", errors(0.123, 2.0))
    path.write_text(path.read_text().replace("0.123", text))
    found = named(read_measurements([tmp_path]))
    assert "forces_mae" in found
    assert ("energy_mae" in found) == (text == "true")


def test_a_failed_cell_is_a_row_without_values_and_is_named(tmp_path: Path) -> None:
    write_cell(tmp_path, "default", 0, "mae", errors(1.0))
    failed = write_cell(tmp_path, "direct", 0, "mae", errors(1.0))
    failed.unlink()
    cell = json.loads((failed.parent / "cell.json").read_text()) | {
        "state": "failed",
        "failure": "NaN in step 3",
    }
    (failed.parent / "cell.json").write_text(json.dumps(cell))
    measured = read_measurements([tmp_path])
    assert ("", "direct", 0) in measured.potentials
    assert any("NaN in step 3" in remark for remark in measured.remarks)


def write_run(folder: Path, *changes: str, seed: int = 0) -> Path:
    """Write what identifies the run of a training."""
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(f"train:\n  seed: {seed}\n")
    (folder / "source.json").write_text(json.dumps({"recipe": "/somewhere/tiny.yaml", "set": list(changes)}))
    (folder / "best.safetensors").write_bytes(f"{changes} {seed}".encode())
    return folder


def test_a_run_is_known_by_its_recipe_changes_and_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "runs" / "any", "train.seed=3", "model.lmax=1", seed=3)
    write_result(
        tmp_path / "mae", "mae", errors(1.0), label="train", path="runs/any/best.safetensors", sha256="x"
    )
    measured = read_measurements([tmp_path])
    assert {one.potential for one in measured.measurements} == {("", "tiny model.lmax=1", 3)}
    assert any("has changed" in remark for remark in measured.remarks)
    assert not any("not found" in remark for remark in measured.remarks)
    (run / "best.safetensors").rename(run / "moved")
    measured = read_measurements([tmp_path])
    assert {one.potential for one in measured.measurements} == {("", "train", None)}
    assert any("not found" in remark for remark in measured.remarks)


def test_potentials_that_share_a_label_are_told_apart(tmp_path: Path) -> None:
    for name, energy in (("a", 1.0), ("b", 2.0)):
        write_result(
            tmp_path / name, "mae", errors(energy), label="train", given=f"{name}:make", arguments=[name]
        )
    assert len({one.variant for one in read_measurements([tmp_path]).measurements}) == 2


def test_a_study_gives_order_and_base_and_what_is_missing(tmp_path: Path) -> None:
    study = {
        "study": "by hand",
        "base": "b",
        "systems": {"": {}, "water": {}},
        "variants": {"b": {}, "a": {}},
        "seeds": [0],
        "tests": {"": {"mae": {"command": "mae", "arguments": []}}},
        "cells": {"": {"b": ["train", "mae"], "a": ["train", "mae"]}},
    }
    write_cell(tmp_path, "a", 0, "mae", errors(1.0))
    (tmp_path / "study.json").write_text(json.dumps(study))
    measured = read_measurements([tmp_path])
    assert (list(measured.variants), measured.bases) == (["b", "a"], {"": "b"})
    assert any("3 of 4 cells" in remark and "b, seed 0, train" in remark for remark in measured.remarks)
    (tmp_path / "study.json").write_text('{"variants": 3}')
    with pytest.raises(InputError, match=r"study\.json"):
        read_measurements([tmp_path])


@pytest.mark.parametrize("recipe", [b"\xff\xfe\x00", b"train: 3", b"train: {seed: x}", b"{", b"3"])
def test_a_damaged_recipe_of_a_run_is_named_in_one_line(tmp_path: Path, recipe: bytes) -> None:
    run = write_run(tmp_path / "run")
    (run / "recipe.yaml").write_bytes(recipe)
    write_result(tmp_path / "mae", "mae", errors(1.0), label="train", path="run/best.safetensors", sha256="x")
    with pytest.raises(InputError, match=r"recipe\.yaml") as refused:
        read_measurements([tmp_path])
    assert "\n" not in str(refused.value)
