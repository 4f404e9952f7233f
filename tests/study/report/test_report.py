import json
from pathlib import Path
from typing import Any

import pytest

from esen.errors import InputError
from esen.study.report import finish, write_report
from esen.study.table import Column, Table, write_result
from tests.study.report.pages import parse

COLUMNS = (
    Column[Any]("name", value=lambda r: r["name"], wraps=True),
    Column[Any]("modulus", symbol="K", unit="GPa", value=lambda r: r["modulus"], format=".2f"),
    Column[Any]("verdict", value=lambda r: r["verdict"], wraps=True),
)


def result(folder: Path, rows: list[dict[str, Any]], **more: Any) -> Path:
    write_result(
        folder, "elastic", potentials={}, settings={"fmax": 1e-5}, table=Table(COLUMNS, rows), **more
    )
    return folder


def row(name: str, modulus: float | None = 134.4794633, verdict: str = "stable") -> dict[str, Any]:
    return {"name": name, "modulus": modulus, "verdict": verdict}


def test_the_page_has_every_number_and_the_verdict_first(tmp_path: Path) -> None:
    page = parse(write_report(result(tmp_path, [row("Cu"), row("Al", 39.70123, "failed")])))
    assert page.title == "esen elastic"
    assert page.text.index("1 of 2") < page.text.index("134.48")
    assert {"134.4794633", "39.70123"} <= page.exact
    assert "K (GPa)" in page.headings
    assert page.classes["failed"] == "bad"
    assert page.classes["stable"] == "good"


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no results"):
        write_report(tmp_path)
    with pytest.raises(InputError, match="not there"):
        write_report(tmp_path / "missing")
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(InputError, match=r"result\.json"):
        write_report(tmp_path)
    (tmp_path / "result.json").write_text(json.dumps({"command": "mae", "rows": [1], "columns": []}))
    with pytest.raises(InputError, match="rows"):
        write_report(tmp_path)
    with pytest.raises(InputError, match="a file"):
        write_report(tmp_path / "result.json")


def test_a_report_that_fails_is_a_warning_and_loses_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result(tmp_path, [row("Cu")])
    (tmp_path / "report.html").mkdir()
    paths = finish(tmp_path, {"result": tmp_path / "result.json"})
    assert paths == {"result": tmp_path / "result.json"}
    assert "report.html" in caplog.text
