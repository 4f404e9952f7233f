"""Options of `esen mae`, and what it prints."""

import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

from esen.data.readers import Reading
from esen.data.stress import StressConvention
from esen.recipe import DataSpec, SourceSpec
from esen_cli.app import app
from tests.study.test_mae import metals


@pytest.fixture(autouse=True)
def _quick_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than everything else."""
    monkeypatch.setattr(Figure, "savefig", lambda _, file, **__: file.write(b"\x89PNG"))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two frames in the working directory."""
    monkeypatch.chdir(tmp_path)
    return metals(Path("test.xyz"), "Cu", "Au").name


def invoke(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["mae", *arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def settings(folder: str) -> dict[str, object]:
    return dict(json.loads((Path(folder) / "result.json").read_text())["settings"])


def test_one_potential(data: str) -> None:
    printed = invoke("emt", data)
    assert "worst frames" in printed
    assert "runs/mae-emt/mae.json" in printed
    labels = settings("runs/mae-emt")["labels"]
    assert isinstance(labels, dict)
    spec = DataSpec(train=(SourceSpec(path=data),))
    for key in ("energy_key", "forces_key", "stress_key", "stress_convention"):
        assert labels[key] == getattr(spec, key) == getattr(Reading(), key)


def test_options_reach_the_evaluation(data: str) -> None:
    options = ["--energy-key", "none", "--frames", "::2", "--batch-atoms", "9", "--also", "tests.toys:morse"]
    printed = invoke("emt", data, *options, "--calculator-args", "emt:asap_cutoff=true", "--output", "out")
    assert "morse" in printed
    found = settings("out")
    assert found["sources"] == [{"path": data, "frames": "::2"}]
    assert found["batch_atoms"] == 9
    result = json.loads(Path("out/result.json").read_text())
    assert result["potentials"]["emt"]["arguments"] == ["asap_cutoff=true"]
    assert {row["energy_count"] for row in result["rows"]} == {0}


@pytest.mark.parametrize("convention", DataSpec.model_fields["stress_convention"].annotation.__args__)
def test_the_stress_conventions_are_those_of_recipes(convention: StressConvention, data: str) -> None:
    invoke("emt", data, "--stress-convention", convention, "--output", "out")
    labels = settings("out")["labels"]
    assert isinstance(labels, dict)
    assert labels["stress_convention"] == convention
    invoke("emt", data, "--stress-convention", "gpa", code=2)


def test_data_is_required(data: str) -> None:
    invoke("emt", code=2)
    assert not Path("runs").exists()
