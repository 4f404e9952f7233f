import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from esen_cli.app import app


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_page_is_made_again() -> None:
    Path("out").mkdir()
    content = {"command": "mae", "columns": [{"name": "energy"}], "rows": [{"energy": 0.1234567}]}
    Path("out/result.json").write_text(json.dumps(content))
    done = CliRunner().invoke(app, ["report", "out"])
    assert done.exit_code == 0
    assert "out/report.html" in done.output
    assert "0.1234567" in Path("out/report.html").read_text()


@pytest.mark.parametrize(
    ("files", "given"), [({}, "out"), ({"result.json": "{"}, "out"), ({"a": ""}, "out/a"), ({}, "nothing")]
)
def test_mistakes_cost_one_line(files: dict[str, str], given: str) -> None:
    Path("out").mkdir()
    for name, text in files.items():
        Path("out", name).write_text(text)
    done = CliRunner().invoke(app, ["report", given])
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert given in line
    assert not Path("out/report.html").exists()
