"""The script that measures a GPU runs to its end on a CPU, so that no time on a GPU is lost to a mistake in it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parent.parent / "benchmarks" / "gpu" / "run.py"
PARTS = ("limits", "inference", "dynamics", "training", "kernels", "neighbours")


@pytest.mark.slow
def test_rehearsal_on_a_cpu(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(RUN),
        "--device",
        "cpu",
        "--small",
        "--out",
        str(tmp_path),
        "--only",
        ",".join(PARTS),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    results = json.loads((tmp_path / "results.json").read_text())
    for part in PARTS:
        rows = results["parts"][part]["rows"]
        failed = [row for row in rows if "error" in row and row.get("backend") != "nvalchemi"]  # optional
        assert rows
        assert not failed
        assert f"## {part}" in (tmp_path / "results.md").read_text()


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, str(RUN), "--device", "cpu", "--only", "inferense", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "inferense" in done.stderr
    assert not list(tmp_path.iterdir())
