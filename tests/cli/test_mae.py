import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from esen.recipe import DataSpec, SourceSpec
from esen_cli.app import app


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `run_mae` is called with."""
    made: list[dict[str, Any]] = []

    def run_mae(potential: str, sources: list[SourceSpec], **options: Any) -> SimpleNamespace:
        made.append({"potential": potential, "sources": list(sources), **options})
        return SimpleNamespace(
            rows=[("forces", 12.5, "meV/Å")], paths={"plot": options["output"] / "parity.png"}
        )

    module = ModuleType("esen.study.mae")
    module.run_mae = run_mae  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "esen.study.mae", module)
    monkeypatch.chdir(tmp_path)
    return made


def test_what_is_not_said_is_as_in_recipes(calls: list[dict[str, Any]]) -> None:
    result = CliRunner().invoke(app, ["mae", "runs/mgo", "a.xyz", "b/*.xyz"])
    assert result.exit_code == 0, result.output
    (call,) = calls
    plain = DataSpec(train=(SourceSpec(path="a.xyz"), SourceSpec(path="b/*.xyz")))
    assert call["potential"] == "runs/mgo"
    assert tuple(call["sources"]) == plain.train
    for key in ("energy_key", "forces_key", "stress_key", "stress_convention"):
        assert call[key] == getattr(plain, key)
    assert (call["dtype"], call["device"]) == (None, "auto")
    assert call["output"] == Path("runs/mae-mgo")
    assert result.stdout.split() == ["forces", "12.5", "meV/Å", "plot", "runs/mae-mgo/parity.png"]


def test_options(calls: list[dict[str, Any]]) -> None:
    arguments = [
        "mae",
        "w",
        "a.xyz",
        "--energy-key",
        "E",
        "--forces-key",
        "F",
        "--stress-key",
        "S",
        "--frames",
        "::2",
    ]
    arguments += [
        "--stress-convention",
        "virial",
        "--output",
        "out",
        "--dtype",
        "float64",
        "--batch-atoms",
        "9",
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert calls == [
        {
            "potential": "w",
            "sources": [SourceSpec(path="a.xyz", frames="::2")],
            "energy_key": "E",
            "forces_key": "F",
            "stress_key": "S",
            "stress_convention": "virial",
            "output": Path("out"),
            "dtype": "float64",
            "device": "auto",
            "memory": "auto",
            "batch_atoms": 9,
        }
    ]


def test_the_folder_is_named_after_the_weights(calls: list[dict[str, Any]]) -> None:
    Path("runs/mgo").mkdir(parents=True)
    Path("runs/mgo/best.safetensors").touch()
    Path("mine.safetensors").touch()
    for potential in ("runs/mgo/best.safetensors", "mine.safetensors"):
        assert CliRunner().invoke(app, ["mae", potential, "a.xyz"]).exit_code == 0
    assert [call["output"] for call in calls] == [Path("runs/mae-mgo-best"), Path("runs/mae-mine")]


def test_the_stress_conventions_are_those_of_recipes(calls: list[dict[str, Any]]) -> None:
    for convention in get_args(DataSpec.model_fields["stress_convention"].annotation):
        result = CliRunner().invoke(app, ["mae", "w", "a.xyz", "--stress-convention", convention])
        assert result.exit_code == 0
    assert CliRunner().invoke(app, ["mae", "w", "a.xyz", "--stress-convention", "gpa"]).exit_code == 2


def test_data_is_required(calls: list[dict[str, Any]]) -> None:
    assert CliRunner().invoke(app, ["mae", "w"]).exit_code == 2
    assert calls == []
