"""`esen train` and `esen mae` as a person uses them: what goes wrong is one line, and nothing is half written."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner, Result

from esen.data.structure import Structure
from esen.files import LOCK
from esen.models.checkpoint import read_checkpoint
from esen.study.train import TrainingResult
from esen.train.run_files import read_metrics
from esen_cli.app import app
from tests.train.small import crystals, molecule, write_frames

RECIPE = """\
model: {cutoff: 3.5, lmax: 1, mmax: 1, layers: 1, sphere_channels: 4, hidden_channels: 4, edge_channels: 4}
data: {train: [{path: train.xyz}], validation_fraction: 0.2}
train: {batch: {structures: 3}, optimizer: {learning_rate: 1e-2}, stages: [{epochs: 2}]}
tracking: {enabled: false}
"""
OTHER_NAMES = {"energy": "REF_energy", "forces": "REF_forces", "stress": "REF_stress"}


@pytest.fixture(autouse=True)
def _quick_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than the trainings. `trained_run` is made before, with its figures."""
    monkeypatch.setattr(Figure, "savefig", lambda _, file, **__: file.write(b"\x89PNG"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With `recipe.yaml` and its frames; the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(RECIPE)
    write_frames(Path("train.xyz"), crystals(9))
    return tmp_path


def command(*arguments: str) -> Result:
    """The command, in this process."""
    return CliRunner().invoke(app, arguments)


def train(*arguments: str) -> Result:
    return command("train", "recipe.yaml", "--device", "cpu", *arguments)


def sets(*pairs: str) -> list[str]:
    return [word for pair in pairs for word in ("--set", pair)]


def error_of(result: Result) -> str:
    """The one line of a user's mistake."""
    assert result.exit_code == 2, result.output
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert result.stderr.splitlines()[-1] == errors[0]
    assert "Traceback" not in result.output
    assert result.stdout == ""
    return errors[0]


def replaced(frames: Sequence[Structure], **change: object) -> list[Structure]:
    """The third frame is another."""
    return [*frames[:2], replace(frames[2], **change), *frames[3:]]


def frame_file(frames: Sequence[Structure]) -> Callable[[], object]:
    return lambda: write_frames(Path("train.xyz"), frames)


def recipe_text(old: str, new: str) -> Callable[[], object]:
    return lambda: Path("recipe.yaml").write_text(RECIPE.replace(old, new))


def cut_first_comment(word: str) -> None:
    """Take a label out of the third frame."""
    lines = Path("train.xyz").read_text().splitlines()
    lines[9] = " ".join(part for part in lines[9].split(" ") if not part.startswith(word))
    Path("train.xyz").write_text("\n".join(lines) + "\n")


MISTAKES: dict[str, tuple[Callable[[], object], str]] = {
    "no recipe": (lambda: Path("recipe.yaml").unlink(), "recipe.yaml: "),
    "an empty recipe": (lambda: Path("recipe.yaml").write_text(""), "is empty"),
    "a typo": (recipe_text("lmax", "lmaks"), "recipe.yaml:1: model.lmaks: no such key; did you mean 'lmax'"),
    "no such kind": (
        recipe_text("layers: 1", "nonlinearity: {kind: gird}"),
        "model.nonlinearity.kind: 'gird'",
    ),
    "a number as text": (
        recipe_text("1e-2", "'1e-4'"),
        "train.optimizer.learning_rate: given '1e-4'",
    ),
    "no data": (lambda: Path("train.xyz").unlink(), "train.xyz: no such file"),
    "an empty file": (lambda: Path("train.xyz").write_text(""), "is empty"),
    "NaN forces": (
        frame_file(replaced(crystals(9), forces=np.array([[0, 0, 0], [0, np.nan, 0]]))),
        "train.xyz, frame 2: forces of atom 1 ",
    ),
    "a frame without energy": (
        lambda: cut_first_comment("energy="),
        "train.xyz, frame 2: has no energy",
    ),
    "other names": (
        lambda: write_frames(Path("train.xyz"), crystals(9), OTHER_NAMES),
        "data.energy_key: REF_energy",
    ),
    "no such element in the model": (
        recipe_text("layers: 1", "max_elements: 12"),
        "model.max_elements: 13",
    ),
    "two atoms in one place": (
        frame_file(replaced(crystals(9), positions=np.zeros((2, 3)))),
        "train.xyz, frame 2: atoms 0 and 1 are 0.000 Å",
    ),
    "one frame": (frame_file(crystals(1)), "1 frame "),
    "molecules, which have no stress": (
        frame_file([molecule(8, 12)] * 4),
        "train.loss.stress: 0",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_written(mistake: str, folder: Path) -> None:
    make, expected = MISTAKES[mistake]
    make()
    before = sorted(folder.rglob("*"))
    assert expected in error_of(train())
    assert sorted(folder.rglob("*")) == before


def test_a_device_that_is_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.empty", _no_cuda)
    assert "device 'cuda' is not there: no GPU; use cpu or auto" in error_of(train("--device", "cuda"))
    assert not Path("runs").exists()


def _no_cuda(*_: object, **__: object) -> None:
    raise RuntimeError("no GPU")


def test_a_folder_that_cannot_be_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("taken").write_text("")
    assert "taken/run: expected a folder" in error_of(train("--output", "taken/run"))
    monkeypatch.setattr("os.access", lambda *_: False)  # as root may write anywhere
    assert "no permission to write" in error_of(train("--output", "locked/run"))
    assert not Path("locked").exists()


@pytest.mark.parametrize(
    ("frames", "settings"),
    [
        ([*crystals(3), molecule(8, 12), molecule(12), molecule(8, 12, 8)], []),  # mixed periodicity
        ([molecule(8, 12), molecule(12), molecule(8)], ["train.loss.stress=0"]),
        ([molecule(8)] * 4, ["train.loss.stress=0"]),  # no edge at all
        ([replace(s, forces=np.zeros((2, 3))) for s in crystals(4)], []),
        (replaced(crystals(4), cell=15 * np.eye(3), stress=None), []),
        (crystals(4), ["train.precision=float64", "train.loss.force_norm=l2_squared"]),
        (crystals(4), ["data.references=none", "train.ema=0"]),
        (crystals(4), ["train.batch.structures=null", "train.batch.atoms=1"]),
    ],
    ids=[
        "mixed",
        "molecules",
        "atoms",
        "no forces",
        "large cell",
        "float64",
        "no references",
        "small batches",
    ],
)
def test_unusual_data_is_trained_on(frames: Sequence[Structure], settings: list[str], folder: Path) -> None:
    write_frames(Path("train.xyz"), frames)
    result = train(*sets("train.stages.0.epochs=1", *settings))
    assert result.exit_code == 0, result.stderr
    assert "validation MAE" in result.stdout
    assert Path("runs/recipe/best.safetensors").exists()


def test_names_of_someone_else(folder: Path) -> None:
    write_frames(Path("train.xyz"), crystals(9), OTHER_NAMES)
    keys = [f"data.{key}_key={value}" for key, value in OTHER_NAMES.items()]
    assert train(*sets(*keys)).exit_code == 0


def test_a_diverging_training(folder: Path) -> None:
    line = error_of(train(*sets("train.optimizer.learning_rate=1e30")))
    assert "lower train.optimizer.learning_rate (1e+30 here)" in line
    assert not list(Path("runs").rglob("best.safetensors"))


@pytest.fixture
def damaged(trained_run: TrainingResult, tmp_path: Path) -> Path:
    """A run whose checkpoints were cut short."""
    run = tmp_path / "damaged"
    run.mkdir()
    for name in ("best.safetensors", "last.safetensors"):
        whole = (trained_run.paths["run"] / name).read_bytes()
        (run / name).write_bytes(whole[: len(whole) // 2])
    return run


def test_a_checkpoint_that_was_cut_short(damaged: Path, folder: Path) -> None:
    line = error_of(command("mae", str(damaged), "train.xyz", "--device", "cpu"))
    assert "best.safetensors: " in line
    line = error_of(train("--output", str(damaged), "--resume"))
    assert "last.safetensors: " in line
    assert {path.name for path in damaged.iterdir()} - {LOCK} == {"best.safetensors", "last.safetensors"}


def test_an_element_that_the_potential_does_not_know(trained_run: TrainingResult, folder: Path) -> None:
    write_frames(Path("iron.xyz"), [molecule(8, 26)])
    weights = str(trained_run.paths["weights"])
    line = error_of(command("mae", weights, "iron.xyz", "--device", "cpu", "--output", "errors"))
    assert "does not know Fe" in line
    assert not Path("errors").exists()


def test_a_trained_potential_is_evaluated(trained_run: TrainingResult, folder: Path) -> None:
    run = str(trained_run.paths["run"])
    result = command("mae", run, "train.xyz", "--device", "cpu", "--output", "errors")
    assert result.exit_code == 0, result.stderr
    assert json.loads(Path("errors/mae.json").read_text())["structures"] == 9


def test_resuming_with_another_recipe(folder: Path) -> None:
    assert train(*sets("train.stages.0.epochs=1")).exit_code == 0
    last = Path("runs/recipe/last.safetensors")
    before = last.read_bytes()
    assert "runs/recipe: finished" in error_of(train("--resume", *sets("train.stages.0.epochs=2")))
    assert last.read_bytes() == before
    again = ("--resume", "--output", "runs/recipe")
    line = error_of(train(*again, *sets("model.hidden_channels=5")))
    assert "trained with model.hidden_channels = 4, the recipe says 5" in line
    line = error_of(train(*again, *sets("train.seed=1")))
    assert "last.safetensors: was trained on other frames" in line
    longer = sets("train.stages.0.epochs=2", "train.optimizer.learning_rate=1e-3")
    result = train(*again, *longer)
    assert result.exit_code == 0
    assert "resuming runs/recipe: at step 3, epoch 2 of 2, from its last checkpoint" in result.stderr
    assert "train.optimizer.learning_rate 0.01 → 0.001, train.stages.0.epochs 1 → 2" in result.stderr
    assert read_checkpoint(last).progress["step"] == 6
    assert "the training is finished" in train(*again, *longer).stderr


@pytest.fixture
def start() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts the command in a process of its own, which does not outlive the test."""
    with ExitStack() as started:

        def begin(*arguments: str) -> "subprocess.Popen[str]":
            words = [
                sys.executable,
                "-m",
                "esen_cli.app",
                "train",
                "recipe.yaml",
                "--device",
                "cpu",
                *arguments,
            ]
            environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
            process = started.enter_context(
                subprocess.Popen(
                    words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
                )
            )
            started.callback(process.kill)
            return process

        yield begin


def stop(process: "subprocess.Popen[str]", number: int, after_steps: int) -> tuple[str, str]:
    """Send a signal when so many steps have been done in `runs/recipe`; returns what was printed."""
    metrics, deadline = Path("runs/recipe/metrics.jsonl"), time.monotonic() + 60
    while not metrics.exists() or metrics.read_bytes().count(b"train/loss") < after_steps:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    return process.communicate(timeout=60)


def test_a_run_that_is_stopped_and_killed_goes_on(
    folder: Path, start: Callable[..., "subprocess.Popen[str]"]
) -> None:
    long = sets("train.stages.0.epochs=100000")
    process = start(*long)
    out, err = stop(process, signal.SIGINT, after_steps=4)
    assert (process.returncode, out) == (130, "")
    step = read_checkpoint(Path("runs/recipe/last.safetensors")).progress["step"]
    assert err.splitlines()[-1] == (
        f"interrupted at step {step}, all is saved; resume with: esen train runs/recipe/recipe.yaml"
        " --output runs/recipe --device cpu --resume"
    )
    process = start("--resume", *long)
    stop(process, signal.SIGKILL, after_steps=step + 4)
    assert process.returncode == -signal.SIGKILL
    saved = read_checkpoint(Path("runs/recipe/last.safetensors")).progress
    enough = f"train.stages.0.epochs={saved['epoch'] + 2}"
    result = train("--resume", *sets(enough))
    assert result.exit_code == 0, result.stderr
    assert f"resuming runs/recipe: at step {saved['step']}, epoch {saved['epoch'] + 1} of" in result.stderr
    rows = read_metrics(Path("runs/recipe/metrics.jsonl"))
    steps = [row["step"] for row in rows if "train/loss" in row]
    assert steps == list(range(1, 3 * (saved["epoch"] + 2) + 1))
    assert [row["step"] for row in rows if "validation/loss" in row] == steps[2::3]
