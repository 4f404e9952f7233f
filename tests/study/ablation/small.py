"""A study whose commands are done by a function instead of by esen, so that it takes seconds."""

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from esen.files import write_json
from esen.recipe.study import Study, load_study
from esen.study.ablation.cells import CommandLine

BASE = """
extends: quickstart
tracking: {enabled: false}
"""
TEXT = """
base: base.yaml
variants:
  default: {}
  bad: {train.optimizer.learning_rate: 1}
seeds: [0, 1]
tests: {mae: {}, check: {}}
"""
LINES = {("", "mae"): CommandLine("mae", ("--frames", ":1")), ("", "check"): CommandLine("check")}


def result_of(command: str, error: float) -> dict[str, Any]:
    """The result of a command that measured an error."""
    return {
        "command": command,
        "version": "0",
        "potentials": {"a": {}},
        "settings": {},
        "columns": [{"name": "energy_mae", "symbol": "E MAE", "unit": "meV/atom", "better": "less"}],
        "rows": [{"potential": "a", "energy_mae": error}],
    }


def small_study(folder: Path, more: str = "") -> Study:
    """The study, with more lines in its file."""
    (folder / "base.yaml").write_text(BASE, encoding="utf-8")
    path = folder / "small.yaml"
    path.write_text(TEXT + more, encoding="utf-8")
    return load_study(path)


def runner(arguments: Sequence[str]) -> int:
    """Fail as a training with a learning rate of 1 would; count every call in the folder of the cell."""
    folder = Path(arguments[arguments.index("--output") + 1])
    with (folder / "calls").open("a", encoding="utf-8") as file:
        file.write("x")
    if any("learning_rate=1" in one for one in arguments):
        sys.stderr.write("error: the loss became nan\n")
        return 2
    if (folder / "kill").exists():
        (folder / "kill").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    limit = time.monotonic() + 60
    while (folder / "slow").exists() and time.monotonic() < limit:
        time.sleep(0.05)
    write_json(folder / "result.json", result_of(arguments[0], 2.0))
    return 1 if arguments[0] == "check" else 0


def calls(folder: Path) -> dict[str, int]:
    """How often each cell was computed."""
    return {
        str(file.parent.relative_to(folder)): len(file.read_text(encoding="utf-8"))
        for file in sorted(folder.rglob("calls"))
    }


def records(folder: Path) -> dict[str, str]:
    """How each cell ended."""
    return {
        str(file.parent.relative_to(folder)): json.loads(file.read_text(encoding="utf-8"))["state"]
        for file in sorted(folder.rglob("cell.json"))
    }
