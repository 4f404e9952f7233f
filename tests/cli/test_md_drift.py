"""`esen md-drift` as a user types it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.io import write
from typer.testing import CliRunner

from esen_cli.app import app
from tests.study.drift.small import files

SHORT = ["--duration", "0.06", "--timestep", "2", "--record-every", "2", "--no-track"]


@pytest.fixture(autouse=True)
def _work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files(tmp_path)
    write("nan.xyz", Atoms("Cu2", [[0, 0, 0], [float("nan"), 0, 2.5]]), format="extxyz")
    Path("empty.xyz").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("mine", None)  # that of an earlier test


def drift(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["md-drift", *arguments], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def test_two_potentials_in_one_call() -> None:
    code, out, err = drift("emt", "mine:swirling", "--structures", "cu.xyz", *SHORT)
    assert (code, "Traceback" in out + err) == (0, False)
    assert out.count("undecided") + out.count("drifts") + out.count("conserved") >= 4
    for words in ("emt", "swirling", "drift ± 95 %", "(meV/atom/ps)", "threshold 0.01"):
        assert words in out
    folder = Path("runs/md-drift")
    for name in ("result.json", "drift.csv", "energy.png"):
        assert str(folder / name) in out
        assert (folder / name).stat().st_size > 100
    assert len(json.loads((folder / "result.json").read_text())["rows"]) == 2
    assert drift("emt", "--structures", "cu.xyz", *SHORT)[0] == 0
    assert Path("runs/md-drift-2/result.json").is_file()


def test_the_quick_protocol_needs_nothing() -> None:
    code, out, _ = drift("emt", "--only", "cu, Al", *SHORT)
    assert code == 0
    assert (
        "quick: NOT the protocol as published: timestep 2 fs, duration 0.06 ps, a row of energies every 2 steps; "
        in out
    )
    content = json.loads(Path("runs/md-drift/result.json").read_text())
    assert [row["system"] for row in content["rows"]] == ["Al", "Cu"]


def test_a_limit_is_exit_code_1() -> None:
    given = ["emt", "--structures", "cu.xyz", *SHORT]
    assert drift(*given, "--max-drift", "1e-9", "--no-plots")[0] == 1
    assert not list(Path("runs").rglob("*.png"))
    code, out, _ = drift(*given, "--max-drift", "1e9")
    assert (code, "fewer than 1 ps" in out) == (1, True)
    given[given.index("--duration") + 1] = "1"
    assert drift(*given, "--max-drift", "1e9")[0] == 0


def test_a_trajectory_that_breaks_off_is_exit_code_1() -> None:
    code, out, err = drift(
        "mine:Springs", "--structures", "cu.xyz", "--calculator-args", "fails_at=5", *SHORT
    )
    assert code == 1
    assert "stopped at 0.01 ps" in " ".join(out.split())
    assert "stopped at step 5: the potential raised RuntimeError: no neighbours" in err
    assert "Traceback" not in out + err


def test_options_reach_the_test() -> None:
    given = [
        "--structures",
        "cu.xyz",
        "--supercell",
        "2,1,1",
        "--temperature",
        "50",
        "--seed",
        "3",
        "--relax",
    ]
    more = ["--order-test", "--jacobian", "--trajectory", "traj", "--frame-every", "10"]
    assert drift("emt", *given, *more, *SHORT, "--output", "out")[0] == 0
    content = json.loads(Path("out/result.json").read_text())
    protocol = content["settings"]["protocols"]["structures"]
    assert (protocol["seed"], protocol["duration_ps"], protocol["timestep_fs"]) == (3, 0.06, 2.0)
    assert protocol["relaxation"] == {"fmax": 0.05, "steps": 1000}
    (system,) = content["settings"]["systems"].values()
    assert (system["atoms"], system["temperature_kelvin"]) == (8, 50.0)
    assert len(content["order_tests"]["rows"][0]["timesteps"]) == 4
    assert len(content["rows"][0]["asymmetry"]) == 3
    assert Path("out/emt/structures/cu.traj").is_file()
    assert Path("out/order.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["emt", "--structures", "none.xyz"], "none.xyz: no such file"),
        (["emt", "--structures", "empty.xyz"], "empty.xyz"),
        (["emt", "--structures", "nan.xyz"], "nan.xyz"),
        (["emt", "--structures", "u.xyz"], "emt: "),
        (["emt", "--structures", "cu.xyz", "--structures", "./cu.xyz"], "given 2 times"),
        (["emt", "--structures", "cu.xyz", "--frames", "5:"], "selects nothing"),
        (["emt", "--structures", "cu.xyz", "--temperature", "-1"], "--temperature -1.0: "),
        (["emt", "--structures", "cu.xyz", "--temperature", "nan"], "--temperature nan: "),
        (["emt", "--structures", "cu.xyz", "--duration", "0"], "--duration 0.0: "),
        (["emt", "--structures", "cu.xyz", "--timestep", "0"], "--timestep 0.0: "),
        (["emt", "--structures", "cu.xyz", "--timestep", "1e6"], "1000000.0 fs"),
        (["emt", "--structures", "cu.xyz", "--resume"], "--resume: "),
        (["emt", "--structures", "cu.xyz", "--max-drift", "-1"], "--max-drift -1.0: "),
        (["emt", "--structures", "cu.xyz", "--protocol", "quick"], "--structures: "),
        (["emt", "--structures", "cu.xyz", "--output", "u.xyz"], "u.xyz is a file"),
        (["emt", "--only", "Xx"], "'Xx'; expected Al, "),
        (["emt", "--only", ","], "--only ',': "),
        (
            ["emt", "--protocol", "tm23"],
            "tm23: no data folder; give --data FOLDER with Ag_melt_nequip_test.xyz",
        ),
        (["none.safetensors"], "no such file"),
        (["mine:nothing", "--structures", "cu.xyz"], "'nothing'"),
        (["emt", "--dtype", "float32"], "--dtype float32: "),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(arguments: list[str], words: str) -> None:
    code, out, err = drift(*arguments, "--no-track")
    assert code == 2
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in out + err
    assert not Path("runs").exists()


@pytest.mark.parametrize("arguments", [["--protocol", "quik"], ["--record-every", "0"], ["--seed", "-1"]])
def test_what_the_options_do_not_allow(arguments: list[str]) -> None:
    code, out, err = drift("emt", *arguments)
    assert code == 2
    assert arguments[0] in err
    assert "Traceback" not in out + err


def test_ctrl_c_and_on_again() -> None:
    """A real signal to a real process; resuming it leaves the results of an uninterrupted run, apart from its times."""
    given = ["emt", "--structures", "cu.xyz", "--duration", "0.6", "--timestep", "2", "--no-track"]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "esen_cli.app",
            "md-drift",
            *given,
            "--output",
            "parts",
            "--trajectory",
            "extxyz",
        ],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    frames = Path("parts/emt/structures/cu.extxyz")
    deadline = time.monotonic() + 60
    while not (frames.exists() and frames.stat().st_size > 2000) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "all is saved; resume with the same command, --output parts and --resume" in err
    assert "Traceback" not in err
    more = ["--trajectory", "extxyz"]
    assert drift(*given, *more, "--output", "parts")[0] == 2
    assert drift(*given, *more, "--output", "parts", "--resume")[0] == 0
    assert drift(*given, *more, "--output", "whole")[0] == 0
    for name in ("emt/structures/cu.csv", "emt/structures/cu.extxyz"):
        assert Path("parts", name).read_bytes() == Path("whole", name).read_bytes(), name
    parts, whole = (json.loads(Path(folder, "result.json").read_text()) for folder in ("parts", "whole"))
    for row in (*parts["rows"], *whole["rows"]):
        assert row.pop("ms_per_step") > 0
        assert row.pop("cpu_ms_per_step") > 0
    assert parts == whole


def test_the_test_is_tracked_with_its_curve(mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    given: list[Any] = [*SHORT[:-1], "--output", "tracked drift"]
    assert drift("emt", "--structures", "cu.xyz", *given)[0] == 0
    client = MlflowClient(tracking_uri=mlflow_uri)
    (experiment,) = [e for e in client.search_experiments() if e.name == "esen"]
    runs = client.search_runs([experiment.experiment_id])
    (run,) = [run for run in runs if run.data.tags.get("folder") == str(Path("tracked drift").absolute())]
    assert run.info.run_name == "md-drift emt"
    assert run.data.params["settings.options.order_test"] == "0"
    assert run.info.status == "FINISHED"
    curve = client.get_metric_history(run.info.run_id, "energy_change_meV_per_atom/cu")
    assert [point.step for point in curve] == list(range(0, 31, 2))
    row = json.loads(Path("tracked drift/result.json").read_text())["rows"][0]
    assert run.data.metrics["slope_meV_per_atom_per_ps/cu"] == pytest.approx(row["slope"])
    assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"result.json", "energy.png"}
