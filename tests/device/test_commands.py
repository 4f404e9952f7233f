"""Checkpoints move between devices, and commands compute on the device."""

from pathlib import Path

import pytest
import torch
from ase.build import bulk
from ase.io import write
from matplotlib.figure import Figure
from typer.testing import CliRunner

from esen.models.checkpoint import load_potential, save_checkpoint
from tests.device.small import batch, on_cpu, potential_on, predictions_apart
from tests.md.small import rattled
from tests.models.test_checkpoint import checkpoint_of
from tests.models.variants import potential_of


@pytest.mark.parametrize("variant", ["default", "direct", "bessel"])
def test_a_checkpoint_of_one_device_predicts_on_the_other(variant: str, device: str, tmp_path: Path) -> None:
    expected = potential_of(variant)(batch("cpu"))
    for source, target in ((device, "cpu"), ("cpu", device), (device, device)):
        path = tmp_path / f"{source}-{target}.safetensors"
        save_checkpoint(path, checkpoint_of(potential_on(source, variant)))
        found = load_potential(path, device=target)
        assert found.scale.device.type == torch.device(target).type
        assert predictions_apart(on_cpu(found(batch(target))), expected) < 1e-10
    contents = {path.read_bytes() for path in tmp_path.iterdir()}
    assert len(contents) == 1


@pytest.fixture
def _work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_checkpoint(Path("small.safetensors"), checkpoint_of(potential_of("default")))
    crystals = [rattled(bulk("Mg", "hcp"), 0.1, seed) for seed in (2, 2)]
    write("mg.xyz", crystals, format="extxyz")


def run(*arguments: str) -> None:
    from esen_cli.app import app

    result = CliRunner().invoke(app, [*arguments, "--no-track", "--output", "out"])
    assert result.exit_code == 0, result.output + repr(result.exception)
    assert Path("out/result.json").is_file()


@pytest.mark.usefixtures("_work")
def test_check(device: str) -> None:
    run("check", "small.safetensors", "mg.xyz", "--laws", "rotation,batch,forces,curl", "--device", device)


@pytest.mark.usefixtures("_work")
def test_md_drift(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Figure, "savefig", lambda _, file, **__: file.write(b"\x89PNG"))
    files = ["small.safetensors", "--structures", "mg.xyz", "--frames", ":1"]
    run("md-drift", *files, "--duration", "0.02", "--record-every", "2", "--device", device)


@pytest.mark.usefixtures("_work")
def test_relax(device: str) -> None:
    """Two crystals, on a GPU, are computed in a process of their own; the CPU has tests of that elsewhere."""
    frames = ":1" if torch.device(device).type == "cpu" else ":"
    files = ["small.safetensors", "mg.xyz", "--frames", frames]
    run("relax", *files, "--no-cell", "--fmax", "0.025", "--device", device)
