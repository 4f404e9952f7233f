"""A run in a folder of its own."""

import json
from pathlib import Path

import pytest

from esen.errors import InputError
from esen.files import locked
from esen.study.materials.run import run_materials
from esen.study.materials.share import ALONE
from tests.study.materials.jobs import Letters


def run(work: Letters, jobs: str, **how: object) -> None:
    manifest = {"settings": {"size": 1}, "letters": {letter: letter for letter in jobs}}
    run_materials(work, list(jobs), ALONE, output=work.output, manifest=manifest, isolated=False, **how)  # type: ignore[arg-type]


def test_failures_are_computed_anew_if_the_user_asks(tmp_path: Path) -> None:
    work = Letters(tmp_path / "out")
    run(work, "ab")
    work.write("b", "it was ill")
    run(work, "abc", retried=[work.path("a")])
    assert json.loads(work.path("b").read_text())["failure"] == "it was ill"
    run(work, "abc", retried=[work.path(letter) for letter in "abcd"])
    assert json.loads(work.path("b").read_text())["failure"] == ""
    assert json.loads((work.output / "manifest.json").read_text())["letters"] == {
        "a": "a",
        "b": "b",
        "c": "c",
    }


def test_the_records_of_something_else_are_left_alone(tmp_path: Path) -> None:
    work = Letters(tmp_path / "out")
    run(work, "a")
    work.write("a", "it was ill")
    other = {"settings": {"size": 2}, "letters": {}}
    with pytest.raises(InputError, match="was computed with settings: size 1, now 2"):
        run_materials(work, ["a"], ALONE, output=work.output, manifest=other, retried=[work.path("a")])
    assert json.loads(work.path("a").read_text())["failure"] == "it was ill"


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    work = Letters(tmp_path / "out")
    work.output.mkdir()
    with locked(work.output), pytest.raises(InputError, match="another process is at work"):
        run(work, "a")
