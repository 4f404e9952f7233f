"""Studies on Slurm: what submitit submits to an `sbatch` on the PATH, its body, and a job whose time is over."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from esen.errors import InputError
from esen.recipe.study import Study
from esen.study.ablation.cells import CommandLine, cells_of
from esen.study.ablation.plan import NOTHING_AGAIN, Again
from esen.study.ablation.run import Lines, StudyResult, run_study
from esen.study.ablation.slurm import StudyJob
from tests.study.ablation.small import LINES, calls, records, runner, small_study

pytest.importorskip("submitit")

_LAUNCH = """
launch:
  kind: slurm
  partition: physics
  gpus_per_node: 0
  cpus_per_task: 1
  timeout_minutes: 30
  array_parallelism: 2
  setup: [export ESEN_SETUP=done]
"""
_SBATCH = """#!/bin/sh
for last; do :; done
cp "$last" "{folder}/script.sh"
echo x >> "{folder}/submissions"
echo "Submitted batch job 4711"
"""
_SRUN = """#!/bin/sh
while [ "$1" != "{python}" ]; do shift; done
exec "$@"
"""
_SCONTROL = """#!/bin/sh
echo "$@" >> "{folder}/requeued"
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Commands of Slurm that keep what they are given."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in (("sbatch", _SBATCH), ("srun", _SRUN), ("scontrol", _SCONTROL)):
        file = folder / name
        file.write_text(text.format(folder=folder, python=sys.executable), encoding="utf-8")
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    yield folder


def study_of(folder: Path) -> Study:
    return small_study(folder, _LAUNCH)


def submit(folder: Path, again: Again = NOTHING_AGAIN, lines: Lines = LINES) -> StudyResult:
    return run_study(
        study_of(folder),
        folder / "out",
        lines,
        runner=runner,
        command=["again"],
        chosen=lambda cell: True,
        again=again,
    )


def start(cluster: Path, task: int) -> "subprocess.Popen[bytes]":
    """Run the body of the submitted script as Slurm does for one task of the array."""
    job = f"4711_{task}"
    environment = os.environ | {
        "SLURM_JOB_ID": job,
        "SLURM_ARRAY_JOB_ID": "4711",
        "SLURM_ARRAY_TASK_ID": str(task),
        "SLURM_JOB_NODELIST": "node1",
        "PYTHONPATH": os.pathsep.join(map(str, sys.path)),
    }
    script = cluster / "script.sh"
    return subprocess.Popen(["bash", str(script)], env=environment, stderr=subprocess.PIPE)


def test_one_array_has_a_job_per_variant_and_seed(cluster: Path, tmp_path: Path) -> None:
    result = submit(tmp_path)
    script = (cluster / "script.sh").read_text(encoding="utf-8")
    flags = dict(re.findall(r"#SBATCH --([\w-]+)=(.+)", script))
    assert flags["array"] == "0-3%2"
    assert (flags["partition"], flags["time"], flags["cpus-per-task"]) == ("physics", "30", "1")
    assert flags["signal"] == "USR2@120"
    assert "gpus-per-node" not in flags
    assert "export ESEN_SETUP=done" in script
    assert [line for line in result.lines if line.startswith("job ")] == [
        "job 4711_0: default, seed 0",
        "job 4711_1: bad, seed 0",
        "job 4711_2: default, seed 1",
        "job 4711_3: bad, seed 1",
    ]
    assert not result.records


@pytest.mark.slow
def test_the_body_computes_the_cells_and_a_second_call_compares_them(cluster: Path, tmp_path: Path) -> None:
    submit(tmp_path)
    processes = [start(cluster, task) for task in range(2)]
    for process in processes:
        _, said = process.communicate()
        assert process.returncode == 0, said.decode()
    output = tmp_path / "out"
    assert sorted(set(records(output).values())) == ["done", "failed"]
    assert set(calls(output).values()) == {1}
    assert len(records(output)) == 4
    result = submit(tmp_path)
    script = (cluster / "script.sh").read_text(encoding="utf-8")
    assert "--array=0-1%2" in script  # the jobs of the other seed
    assert len(result.failures) == 1
    assert json.loads((output / "comparison" / "comparison.json").read_text(encoding="utf-8"))


def test_a_job_whose_time_is_over_is_queued_again_and_resumes(cluster: Path, tmp_path: Path) -> None:
    submit(tmp_path)
    output = tmp_path / "out"
    slow = output / "default" / "seed-0" / "train"
    slow.mkdir(parents=True)
    (slow / "slow").touch()
    process = start(cluster, 0)
    while not (slow / "calls").exists():
        time.sleep(0.1)
        assert process.poll() is None
    for one in psutil.Process(process.pid).children(
        recursive=True
    ):  # as Slurm does to all processes of a step
        one.send_signal(signal.SIGUSR2)
    _, said = process.communicate()
    requeued = (cluster / "requeued").read_text(encoding="utf-8")
    assert requeued.split() == ["requeue", "4711_0"], said.decode()
    assert "default/seed-0/train" not in records(output)
    (slow / "slow").unlink()
    again = start(cluster, 0)
    again.communicate()
    assert again.returncode == 0
    assert records(output) == {f"default/seed-0/{test}": "done" for test in ("train", "mae", "check")}
    assert calls(output)["default/seed-0/train"] == 2


def test_a_failed_cell_is_retried_by_its_command(cluster: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    lines = {("", "mae"): CommandLine("mae", retries=True), ("", "check"): CommandLine("check")}
    training, mae, *_ = cells_of(study_of(tmp_path), output, lines)
    training.run(runner)
    known = training.record()
    assert known is not None
    StudyJob((mae,), {training: known}, runner, 1, retry=True)()
    record = mae.record()
    assert record is not None
    assert "--retry" in record.argv
    (output / "study.json").write_text("{}", encoding="utf-8")
    submit(tmp_path, Again(retry=True), lines)
    with (next((output / "slurm").glob("*submitted.pkl"))).open("rb") as file:
        assert pickle.load(file).function.retry


def test_cells_that_a_queued_job_would_compute_otherwise_are_not_computed_again(
    cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    for cell in cells_of(study_of(tmp_path), output, LINES)[:2]:
        cell.run(runner)
    (output / "study.json").write_text("{}", encoding="utf-8")
    submit(tmp_path)
    monkeypatch.setattr("esen.study.ablation.slurm._is_queued", lambda *_: True)
    lines = {**LINES, ("", "mae"): CommandLine("mae", ("--frames", ":2"))}
    with pytest.raises(InputError, match="scancel 4711_0"):
        submit(tmp_path, Again(recompute=True), lines)
    assert set(calls(output).values()) == {1}
    assert not (output / "earlier").exists()


def test_without_slurm_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="kind: local"):
        submit(tmp_path)
