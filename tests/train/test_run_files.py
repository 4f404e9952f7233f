import csv
import json
from pathlib import Path
from typing import IO, Any

import pytest

from esen.train.run_files import Metrics, best_path, keep_tracking, kept_run_id, read_metrics, rename_best
from tests.train.small import recipe_of


def fill(folder: Path) -> None:
    metrics = Metrics(folder)
    for step in range(1, 7):
        metrics.step({"step": step, "train/loss": 1 / step})
        if step % 2 == 0:
            metrics.validation({"step": step, "validation/loss": 2 / step})
    metrics.close()


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_and_table(tmp_path: Path) -> None:
    fill(tmp_path)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 2, 3, 4, 4, 5, 6, 6]
    assert rows[0] == {"step": 1, "train/loss": 1.0}
    assert table(tmp_path) == [
        {"step": "2", "validation/loss": "1.0"},
        {"step": "4", "validation/loss": "0.5"},
        {"step": "6", "validation/loss": str(2 / 6)},
    ]


def test_numbers_that_are_not_finite_are_null(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    metrics.validation({"step": 1, "validation/loss": float("nan"), "validation/forces_mae": float("inf")})
    metrics.close()
    text = (tmp_path / "metrics.jsonl").read_text()
    row = json.loads(text, parse_constant=pytest.fail)
    assert row == {"step": 1, "validation/loss": None, "validation/forces_mae": None}
    assert table(tmp_path) == [{"step": "1", "validation/loss": "", "validation/forces_mae": ""}]


def test_a_row_is_on_disk_at_once(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    metrics.step({"step": 1, "train/loss": 1.0})
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 1, "train/loss": 1.0}]
    metrics.close()


@pytest.mark.parametrize(
    ("step", "validated", "left", "validations"),
    [
        (4, True, [1, 2, 2, 3, 4, 4], ["2", "4"]),
        (4, False, [1, 2, 2, 3, 4], ["2"]),
        (3, True, [1, 2, 2, 3], ["2"]),
        (6, True, [1, 2, 2, 3, 4, 4, 5, 6, 6], ["2", "4", "6"]),
        (0, True, [], []),
    ],
)
def test_rows_that_will_be_made_again_are_dropped(
    step: int, validated: bool, left: list[int], validations: list[str], tmp_path: Path
) -> None:
    fill(tmp_path)
    Metrics(tmp_path, up_to_step=step, validated=validated).close()
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == left
    assert [row["step"] for row in table(tmp_path)] == validations


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\x00",
        b'{"step": 2, "tra',
        b"[2]",
        b"7",
        b'{"train/loss": 1}',
        b'{"step": "2"}',
        b'{"step": 2, "train/loss": "0.5"}',
        b'{"step": 2, "train/loss": 1' + b"0" * 400 + b"}",
        b'{"step": 2, "validation/loss": {"a": 1}}',
        b"\xff\xfe",
        b"[" * 9000,
    ],
    ids=lambda bad: str(bad[:12]),
)
def test_a_damaged_line_is_counted_and_costs_no_other(
    bad: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path)
    path = tmp_path / "metrics.jsonl"
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:3], bad, *lines[4:7], bad, lines[8]]))  # the last line has no end
    Metrics(tmp_path, up_to_step=6).close()
    assert [row["step"] for row in read_metrics(path)] == [1, 2, 2, 4, 4, 5, 6]
    assert [row["step"] for row in table(tmp_path)] == ["2", "4", "6"]
    (record,) = caplog.records
    assert f"{path}: 2 damaged lines" in record.getMessage()
    assert "line 4" in record.getMessage()


@pytest.mark.parametrize("cut", [b'{"step": 7, "train/lo', b"\xc3", b"\x00\x00\x00"])
def test_a_line_that_was_cut_short_is_left_out(cut: bytes, tmp_path: Path) -> None:
    fill(tmp_path)
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(cut)
    metrics = Metrics(tmp_path, up_to_step=100)
    metrics.step({"step": 7, "train/loss": 0.1})
    metrics.close()
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")][-2:] == [6, 7]


def test_columns_that_come_later_are_kept(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    metrics.validation({"step": 1, "validation/loss": 1.0})
    metrics.validation({"step": 2, "validation/loss": 1.0, "validation/stress_mae": 3.0})
    metrics.close()
    assert [row["validation/stress_mae"] for row in table(tmp_path)] == ["", "3.0"]


class FullDisk:
    """A file that takes nothing more."""

    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")

    def close(self) -> None:
        raise OSError(28, "No space left on device")


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path)
    real: IO[str] = metrics._file
    full: Any = FullDisk()
    metrics._file = full
    with pytest.raises(OSError, match="No space left") as error:
        metrics.step({"step": 1})
    assert error.value.filename == str(tmp_path / "metrics.jsonl")
    metrics.close()
    real.close()


def test_earlier_rows_survive_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    before = (tmp_path / "metrics.jsonl").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Metrics(tmp_path, up_to_step=4)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_the_tracked_run_is_kept(tmp_path: Path) -> None:
    assert kept_run_id(tmp_path) is None
    keep_tracking(tmp_path, None)
    assert not list(tmp_path.iterdir())
    keep_tracking(tmp_path, "abc")
    keep_tracking(tmp_path, None)  # a later process that has not reached its store
    assert kept_run_id(tmp_path) == "abc"
    keep_tracking(tmp_path, "def")
    assert json.loads((tmp_path / "tracking.json").read_text()) == {"run_id": "def"}


@pytest.mark.parametrize(
    "damaged",
    ["", "[]", "{}", "{", '{"run_id": null}', '{"run_id": "a", "uri": 5}', '{"run_id": "a", "stages": [1]}'],
)
def test_a_damaged_note_of_the_tracked_run_is_none(damaged: str, tmp_path: Path) -> None:
    (tmp_path / "tracking.json").write_text(damaged)
    assert kept_run_id(tmp_path) is None
    keep_tracking(tmp_path, "new", stage=0)
    assert kept_run_id(tmp_path, stage=0) == "new"


def test_a_note_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    keep_tracking(tmp_path / "file", "abc")
    assert kept_run_id(tmp_path / "file") is None


def test_the_runs_of_the_stages_are_kept_beside_that_of_the_whole(tmp_path: Path) -> None:
    keep_tracking(tmp_path, "first", stage=0)
    assert kept_run_id(tmp_path) is None
    keep_tracking(tmp_path, "whole")
    keep_tracking(tmp_path, "second", stage=1)
    assert [kept_run_id(tmp_path, stage=i) for i in (0, 1, 2)] == ["first", "second", None]
    assert kept_run_id(tmp_path) == "whole"


ONE, TWO = ([{"epochs": 1}] * count for count in (1, 2))


@pytest.mark.parametrize(
    ("stages", "stage", "name"),
    [(ONE, 0, "best"), (TWO, 0, "best-stage1"), (TWO, 1, "best")],
)
def test_only_the_last_stage_writes_the_best(stages: list[dict[str, int]], stage: int, name: str) -> None:
    recipe = recipe_of(Path("a.xyz"), train__stages=stages)
    assert best_path(Path("run"), recipe, stage) == Path("run") / f"{name}.safetensors"


def test_a_stage_that_is_no_longer_the_last_gives_up_the_name(tmp_path: Path) -> None:
    (tmp_path / "best.safetensors").write_text("first")
    rename_best(tmp_path, recipe_of(Path("a.xyz"), train__stages=TWO), 0)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("best-stage1.safetensors", "first")]
    rename_best(tmp_path, recipe_of(Path("a.xyz"), train__stages=ONE), 0)
    assert [p.name for p in tmp_path.iterdir()] == ["best.safetensors"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "best.safetensors").write_text("second")
    (tmp_path / "best-stage1.safetensors").write_text("first")
    rename_best(tmp_path, recipe_of(Path("a.xyz"), train__stages=TWO), 0)
    assert (tmp_path / "best.safetensors").read_text() == "second"
    assert (tmp_path / "best-stage1.safetensors").read_text() == "first"
