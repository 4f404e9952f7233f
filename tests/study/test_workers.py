"""The work goes on where a process dies."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from esen.errors import InputError
from esen.evaluate.model import Progress
from esen.files import Interrupted
from esen.study.processes import ALONE
from esen.study.workers import do_jobs
from tests.study.letters import Letters


def do(work: Letters, jobs: list[str], **how: bool) -> list[tuple[int, str]]:
    seen: list[tuple[int, str]] = []

    def begun(number: int, name: str) -> Progress:
        seen.append((number, name))
        return lambda done, total: steps.append((name, done, total))

    do_jobs(work, jobs, ALONE, resumed_by="--output here", begun=begun, **how)
    return seen


steps: list[tuple[str, int, int]] = []


def reasons(work: Letters) -> dict[str, str]:
    return {path.stem: json.loads(path.read_text())["failure"] for path in sorted(work.output.glob("*.json"))}


def test_only_what_kills_the_process_is_given_up(tmp_path: Path) -> None:
    work = Letters(tmp_path / "out")
    assert do(work, ["ab", "ckd", "k", "l", "e"]) == [(0, "ab"), (1, "ckd"), (3, "l"), (4, "e")]
    found = reasons(work)
    assert "exit code 9" in found.pop("l")
    assert "killed by SIGKILL, perhaps because memory ran out" in found.pop("k")
    assert found == dict.fromkeys("abcde", "")
    here = {json.loads(work.path(letter).read_text())["process"] == os.getpid() for letter in "abcde"}
    assert here == {False}
    assert do(work, ["ab", "ckd", "e"]) == []  # nothing is left


def test_a_single_job_is_done_here(tmp_path: Path) -> None:
    work = Letters(tmp_path / "out")
    work.write("a", "")
    assert do(work, ["a", "b"]) == [(1, "b")]
    assert json.loads(work.path("b").read_text())["process"] == os.getpid()
    assert do(work, ["cd", "ef"], isolated=False) == [(0, "cd"), (1, "ef")]


@pytest.mark.parametrize("jobs", [["a"], ["a", "b"]])
def test_what_cannot_be_loaded_is_the_users_mistake(jobs: list[str], tmp_path: Path) -> None:
    work = Letters(tmp_path / "out", loads=False)
    with pytest.raises(InputError, match="no such potential"):
        do_jobs(work, jobs, ALONE, resumed_by="", before=lambda: pytest.fail("the folder was claimed"))


def test_defects_keep_their_traceback(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"ValueError: not a letter"):
        do(Letters(tmp_path / "out"), ["a", "x"])


def test_an_interruption_ends_the_worker_and_says_how_to_go_on(tmp_path: Path) -> None:
    work = Letters(tmp_path / "out")

    def interrupt() -> None:
        while not work.path("a").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=interrupt, daemon=True).start()
    started = time.monotonic()
    with pytest.raises(Interrupted, match="--output here"):
        do(work, ["a", "s"])
    assert time.monotonic() - started < 25
    assert reasons(work) == {"a": ""}


@pytest.mark.parametrize("isolated", [True, False])
def test_the_progress_within_a_job_arrives(isolated: bool, tmp_path: Path) -> None:
    steps.clear()
    do(Letters(tmp_path / "out"), ["abc", "d"], isolated=isolated)
    assert steps == [("abc", 1, 3), ("abc", 2, 3), ("abc", 3, 3), ("d", 1, 1)]
