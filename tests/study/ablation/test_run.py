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
from esen.study.ablation.cells import Cell, CommandLine, cells_of
from esen.study.ablation.plan import Again
from esen.study.ablation.run import Lines, StudyResult, run_study
from esen.study.compare.layout import markdown
from esen.study.environment import code_version
from tests.study.ablation.small import LINES, TEXT, calls, records, runner, small_study


def run(
    study: Study,
    output: Path,
    *,
    retry: bool = False,
    recompute: bool = False,
    test: str | None = None,
    lines: Lines = LINES,
) -> StudyResult:
    def chosen(cell: Cell) -> bool:
        return test is None or cell.test == test

    again = Again(retry, recompute)
    return run_study(study, output, lines, runner=runner, command=["again"], chosen=chosen, again=again)


def edited(folder: Path, old: str, new: str) -> Study:
    """The study with a change in its file."""
    assert old in TEXT
    (folder / "small.yaml").write_text(TEXT.replace(old, new), encoding="utf-8")
    return load_study(folder / "small.yaml")


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


def test_variants_seeds_and_tests_may_be_added(tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(
        small_study(tmp_path),
        output,
        lines={("", "mae"): LINES["", "mae"], ("", "check"): LINES["", "check"]},
    )
    text = TEXT.replace("seeds: [0, 1]", "seeds: [0, 2]").replace(
        "  bad:", "  more: {model.layers: 1}\n  bad:"
    )
    text = text.replace("check: {}", "check: {}, elastic: {}")
    (tmp_path / "small.yaml").write_text(text, encoding="utf-8")
    result = run(
        load_study(tmp_path / "small.yaml"), output, lines={**LINES, ("", "elastic"): CommandLine("elastic")}
    )
    assert records(output)["more/seed-2/elastic"] == "done"
    assert records(output)["default/seed-0/elastic"] == "done"
    assert set(calls(output).values()) == {1}
    assert result.is_complete


def test_cells_of_changed_options_are_left_out_until_the_user_asks_for_them(tmp_path: Path) -> None:
    study, output = small_study(tmp_path), tmp_path / "out"
    first = run(study, output)
    lines = {**LINES, ("", "mae"): CommandLine("mae", ("--frames", ":2"))}
    result = run(study, output, lines=lines)
    assert not result.is_complete
    changes = [
        line for line in result.lines if line.startswith("mae: options changed (frames :1 → :2); 2 cells")
    ]
    assert len(changes) == 1
    assert set(calls(output).values()) == {1}
    assert result.comparison is not None
    assert any("2 results are left out" in line for line in result.comparison.remarks)
    assert [list(one.cells) for one in result.comparison.lines] == [["train.energy_mae"], []]
    again = run(study, output, lines=lines, recompute=True)
    assert again.is_complete
    assert again.comparison is not None
    assert first.comparison is not None
    assert markdown(again.comparison) == markdown(first.comparison)
    assert not any("left out" in line for line in again.comparison.remarks)
    assert {name for name, n in calls(output).items() if name.startswith("earlier")} == {
        f"earlier/1/default/seed-{seed}/mae" for seed in (0, 1)
    }
    assert set(calls(output).values()) == {1}
    last = run(study, output, lines=lines, recompute=True)
    assert last.is_complete
    assert set(calls(output).values()) == {1}


def test_a_change_that_is_taken_back_makes_the_results_valid_again(tmp_path: Path) -> None:
    output = tmp_path / "out"
    before = run(small_study(tmp_path), output)
    kept = {path: path.read_bytes() for path in output.rglob("cell.json")}
    changed = run(edited(tmp_path, "default: {}", "default: {model.layers: 1}"), output)
    (line,) = [line for line in changed.lines if line.startswith("variant default: recipe changed")]
    assert "model.layers 2 → 1" in line
    assert "6 cells" in line
    assert set(changed.records) == {cell for cell in before.records if cell.variant == "bad"}
    run(small_study(tmp_path), output)
    assert {path: path.read_bytes() for path in output.rglob("cell.json")} == kept
    assert set(calls(output).values()) == {1}


def test_a_change_of_the_base_is_named_for_each_variant(tmp_path: Path) -> None:
    study, output = small_study(tmp_path), tmp_path / "out"
    run(study, output)
    base = (tmp_path / "base.yaml").read_text(encoding="utf-8")
    (tmp_path / "base.yaml").write_text(f"{base}\nmodel: {{layers: 1}}\n", encoding="utf-8")
    result = run(load_study(study.path), output)
    changed = {line.partition(":")[0] for line in result.lines if "model.layers 2 → 1" in line}
    assert changed == {"variant default", "variant bad"}


def test_tests_follow_a_training_that_is_computed_again(tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(small_study(tmp_path), output)
    study = edited(tmp_path, "default: {}", "default: {model.layers: 1}")
    run(study, output, recompute=True, test="train")
    found = {name for name in records(output) if name.startswith("default")}
    assert found == {"default/seed-0/train", "default/seed-1/train"}
    assert {name.rpartition("/")[2] for name in records(output) if name.startswith("earlier")} == {
        *("train", "mae", "check")
    }
    run(study, output)
    assert set(calls(output).values()) == {1}


def test_a_failed_cell_is_computed_again_when_its_mistake_is_corrected(tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(small_study(tmp_path), output)
    result = run(edited(tmp_path, "learning_rate: 1}", "learning_rate: 0.001}"), output)
    assert result.is_complete
    assert not result.failures
    assert len(result.records) == 12
    assert records(output)["earlier/1/bad/seed-0/train"] == "failed"
    assert set(calls(output).values()) == {1}


def test_a_test_that_was_interrupted_does_not_go_on_with_other_options(tmp_path: Path) -> None:
    study, output = small_study(tmp_path), tmp_path / "out"
    cell = next(one for one in cells_of(study, output, LINES) if one.test == "mae")
    cell.folder.mkdir(parents=True)
    cell.keep(["1"])
    (cell.folder / "manifest.json").touch()
    (output / "study.json").write_text("{}", encoding="utf-8")
    lines = {**LINES, ("", "mae"): CommandLine("mae", ("--frames", ":2"))}
    result = run(study, output, lines=lines)
    assert not result.is_complete
    assert "default/seed-0/mae" not in calls(output)
    queued_before_the_change = next(one for one in cells_of(study, output, lines) if one.test == "mae")
    queued_before_the_change.run(runner)
    record = queued_before_the_change.record()
    assert record is not None
    assert not record.is_final(retry=False)
    assert "default/seed-0/mae" not in calls(output)
    run(study, output)
    assert calls(output)["default/seed-0/mae"] == 1


def test_a_folder_of_an_earlier_version_goes_on_unless_it_has_changed(tmp_path: Path) -> None:
    study, output = small_study(tmp_path), tmp_path / "out"
    run(study, output)
    for path in output.rglob("cell.settings.json"):
        path.unlink()
    changed = edited(tmp_path, "default: {}", "default: {model.layers: 1}")
    with pytest.raises(InputError, match="variant default"):
        run(changed, output)
    run(study, output)
    assert set(calls(output).values()) == {1}
    assert not run(changed, output).is_complete


def test_a_study_that_mixes_versions_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, output = small_study(tmp_path), tmp_path / "out"
    cells = cells_of(study, output, LINES)
    monkeypatch.setattr("esen.study.ablation.cells.code_version", lambda: "0.0.9, code 1")
    cells[0].run(runner)
    monkeypatch.undo()
    cells[1].run(runner)
    (output / "study.json").write_text("{}", encoding="utf-8")
    result = run(study, output)
    assert result.comparison is not None
    (line,) = [line for line in result.comparison.remarks if "2 versions" in line]
    assert "0.0.9, code 1: 1 cell (default, seed 0, train)" in line
    assert f"{code_version()}: 7 cells" in line


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
