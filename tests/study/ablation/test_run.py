"""A study from end to end: what is computed, what is left out, and what a second call does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from esen.errors import InputError
from esen.recipe.study import Study, load_study
from esen.study.ablation.cells import Cell, cells_of
from esen.study.ablation.run import StudyResult, run_study
from tests.study.ablation.small import LINES, TEXT, calls, records, runner, small_study


def run(study: Study, output: Path, *, retry: bool = False, test: str | None = None) -> StudyResult:
    def chosen(cell: Cell) -> bool:
        return test is None or cell.test == test

    return run_study(study, output, LINES, runner=runner, command=["again"], chosen=chosen, retry=retry)


def test_all_cells_are_computed_once_and_a_failed_training_stops_only_its_tests(tmp_path: Path) -> None:
    study, output = small_study(tmp_path), tmp_path / "out"
    result = run(study, output)
    good = {f"default/seed-{seed}/{test}": "done" for seed in (0, 1) for test in ("train", "mae", "check")}
    bad = {f"bad/seed-{seed}/train": "failed" for seed in (0, 1)}
    assert records(output) == good | bad
    assert set(calls(output).values()) == {1}
    assert len(result.failures) == 2
    assert all("the loss became nan" in line for line in result.failures)
    again = run(study, output)
    assert set(calls(output).values()) == {1}
    assert again.failures == result.failures
    run(study, output, retry=True)
    assert {name: n for name, n in calls(output).items() if n > 1} == dict.fromkeys(bad, 2)


def test_one_test_alone_takes_the_training_along(tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(small_study(tmp_path), output, test="mae")
    assert {name.rpartition("/")[2] for name in records(output)} == {"train", "mae"}


def test_a_cell_that_is_killed_is_reported_and_computed_by_the_next_call(tmp_path: Path) -> None:
    study, output = small_study(tmp_path), tmp_path / "out"
    cell = next(c for c in cells_of(study, output, LINES) if c.test == "mae")
    cell.folder.mkdir(parents=True)
    (output / "study.json").write_text("{}", encoding="utf-8")
    (cell.folder / "kill").touch()
    result = run(study, output)
    assert any("SIGKILL" in line and line.startswith("default, seed 0, mae") for line in result.failures)
    assert len(result.records) == 8
    assert not any("SIGKILL" in line for line in run(study, output).failures)
    assert calls(output)["default/seed-0/mae"] == 2


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"argv": null}', '{"argv": [], "state": "done"}'])
def test_a_damaged_record_is_computed_again(content: str, tmp_path: Path) -> None:
    study, output = small_study(tmp_path), tmp_path / "out"
    cell = cells_of(study, output, LINES)[0]
    cell.folder.mkdir(parents=True)
    (cell.folder / "cell.json").write_text(content, encoding="utf-8")
    assert cell.record() is None
    cell.run(runner)
    assert calls(output) == {"default/seed-0/train": 1}
    record = cell.record()
    assert record is not None
    assert record.state == "done"


def test_a_defect_of_a_command_is_a_failure_of_its_cell(tmp_path: Path) -> None:
    def broken(arguments: Sequence[str]) -> int:
        raise RuntimeError("no such thing")

    cell = cells_of(small_study(tmp_path), tmp_path / "out", LINES)[1]
    cell.run(broken)
    record = cell.record()
    assert record is not None
    assert record.failure == "RuntimeError: no such thing"


def test_long_names_have_folders_of_their_own(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    first, second = (replace(study.variants[0], name="a" * 200 + end) for end in "bc")
    cells = cells_of(replace(study, variants=(first, second)), tmp_path, LINES)
    assert len({cell.folder for cell in cells}) == len(cells)
    assert all(len(part) < 100 for cell in cells for part in cell.folder.parts)


@pytest.mark.parametrize("name", ["study.json", "slurm", "Comparison"])
def test_a_variant_has_no_name_of_a_file_of_the_study(name: str, tmp_path: Path) -> None:
    study = small_study(tmp_path)
    taken = replace(study.variants[0], name=name)
    with pytest.raises(InputError, match="same folder"):
        cells_of(replace(study, variants=(taken,)), tmp_path, LINES)


def test_variants_may_be_added_but_not_changed(tmp_path: Path) -> None:
    study, output = small_study(tmp_path), tmp_path / "out"
    run(study, output)
    (tmp_path / "small.yaml").write_text(
        TEXT.replace("seeds: [0, 1]", "seeds: [2]").replace("  bad:", "  more: {model.layers: 1}\n  bad:"),
        encoding="utf-8",
    )
    run(load_study(tmp_path / "small.yaml"), output)
    assert records(output)["more/seed-2/train"] == "done"
    assert set(calls(output).values()) == {1}
    (tmp_path / "small.yaml").write_text(
        TEXT.replace("default: {}", "default: {model.layers: 1}"), encoding="utf-8"
    )
    with pytest.raises(InputError, match="variant default"):
        run(load_study(tmp_path / "small.yaml"), output)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(InputError, match="something else"):
        run(small_study(tmp_path), tmp_path / "out")


_PROGRAM = """
import sys
from pathlib import Path
from tests.study.ablation.test_run import run, small_study
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    run(small_study(folder), folder / "out")
"""


@pytest.mark.slow
def test_a_study_that_is_killed_at_any_moment_computes_nothing_twice(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM, encoding="utf-8")
    command = [sys.executable, str(program), str(tmp_path)]
    for attempt in range(10):
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, sys.path))}
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        time.sleep(3 + 0.37 * attempt)
        ended = {
            path: path.read_bytes() for path in (tmp_path / "out").rglob("cell.json") if path.stat().st_size
        }
        process.send_signal(signal.SIGKILL if attempt % 2 else signal.SIGTERM)
        process.wait()
        assert all(path.read_bytes() == content for path, content in ended.items())
    run(small_study(tmp_path), tmp_path / "out")
    assert len(records(tmp_path / "out")) == 8
