import json
import os
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from esen.errors import InputError
from esen.recipe.load import dump_recipe
from esen.recipe.shipped import find_recipe
from esen.study.report import finish, write_report
from esen.study.source import RunSource
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


HOSTILE = "<script>alert(1)</script>&\"' \x1b[31m\x00\u202e\udce9"


def test_hostile_text_is_escaped_and_readable(tmp_path: Path) -> None:
    folder = tmp_path / "<b>&"
    rows = [row(HOSTILE), row("x" * 5000, None, HOSTILE)]
    result(folder, rows, remarks=[HOSTILE], failures={HOSTILE: HOSTILE}, other={HOSTILE: [HOSTILE]})
    (folder / os.fsdecode(b"caf\xe9 #1?.csv")).write_text("a")
    (folder / os.fsdecode(b"\xe9.bands.png")).write_bytes(png())
    page = parse(write_report(folder))
    assert "<script>alert(1)</script>&\"' \\x1b[31m\\x00\\u202e\\xe9" in page.text
    assert not {"\x1b", "\x00", "\u202e"} & set(page.text)
    assert "caf\\xe9 #1?.csv" in page.text
    assert "caf%E9%20%231%3F.csv" in page.links
    assert "4,000 more characters" in page.text


def test_a_long_table_is_cut_with_failures_first(tmp_path: Path) -> None:
    rows = [row(f"crystal {n}") for n in range(10_000)]
    rows[9_999] = row("the last", None, "failed")
    path = write_report(result(tmp_path, rows))
    page = parse(path)
    assert "of 10,000 rows" in page.text
    assert "result.json" in page.text
    assert "the last" in page.text
    assert "crystal 5000" not in page.text
    assert "9999 of 10000 stable" in page.text
    assert path.stat().st_size < 1e6


def test_results_of_an_older_version_have_a_report(tmp_path: Path) -> None:
    path = result(tmp_path, [row("Cu")]) / "result.json"
    content = json.loads(path.read_text())
    del content["shown"], content["environment"], content["settings"]
    path.write_text(json.dumps(content))
    page = parse(write_report(tmp_path))
    assert "134.4794633" in page.exact
    assert "modulus, K (GPa)" in page.headings


def test_many_columns_are_divided_and_few_rows_are_turned(tmp_path: Path) -> None:
    names = [f"q{n}" for n in range(40)]
    columns = [
        Column[Any]("name", value=lambda r: r["name"], wraps=True),
        *(Column[Any](name, value=lambda r, name=name: r.get(name), shown=False) for name in names),
    ]
    for count in (2, 9):
        rows = [{"name": f"r{k}"} | {name: k + n / 64 for n, name in enumerate(names)} for k in range(count)]
        write_result(tmp_path, "elastic", potentials={}, settings={}, table=Table(columns, rows))
        page = parse(write_report(tmp_path))
        assert set(names) <= set(page.headings)
        values = {str(value) for r in rows for value in r.values() if isinstance(value, float)}
        assert all(value in page.exact or f"{float(value):.5g}" in page.text for value in values)


def test_figures_have_captions_and_no_more_than_their_share(tmp_path: Path) -> None:
    result(tmp_path, [row("Cu")])
    for name in ("energy-tm23.png", "emt/MgO.bands.png", "cell/figure.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png())
    (tmp_path / "cell" / "cell.json").write_text("{}")
    (tmp_path / "broken.png").write_bytes(b"")
    (tmp_path / "huge.png").write_bytes(png() + bytes(3_000_000))
    page = parse(write_report(tmp_path))
    captions = [image["alt"] or "" for image in page.images]
    assert [caption.split(":")[0] for caption in captions] == [
        "Energy against time",
        "Phonon bands and density of states, MgO, emt",
    ]
    assert captions[0].endswith("tm23")
    assert "huge.png" in page.text
    assert "broken.png" in page.text


def test_a_run_shows_what_differs_from_its_base(tmp_path: Path) -> None:
    base = find_recipe("quickstart")
    source = RunSource(base, ("model.lmax=3", "model.forces.kind=direct"))
    (tmp_path / "recipe.yaml").write_text(dump_recipe(source.load()))
    source.keep(tmp_path)
    page = parse(write_report(tmp_path))
    assert "not finished" in page.text
    assert {"model.lmax", "model.forces.kind"} <= set(page.headings)
    assert "quickstart.yaml --set model.lmax=3" in page.text
    kept = json.loads((tmp_path / "source.json").read_text())
    (tmp_path / "source.json").write_text(json.dumps({"recipe": "gone.yaml", "set": kept["set"]}))
    assert "no longer there" in parse(write_report(tmp_path)).text
    (tmp_path / "source.json").unlink()
    (tmp_path / "recipe.yaml").write_text("model: [")
    assert "cannot be read" in parse(write_report(tmp_path)).text


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    result(tmp_path, [row("Cu")])
    (tmp_path / "recipe.yaml").write_text("{}")
    tracking = {"uri": "postgresql://me:hunter2@host/db", "name": "run"}
    (tmp_path / "tracking.json").write_text(json.dumps(tracking))
    content = json.loads((tmp_path / "result.json").read_text())
    content["environment"]["command"] = ["esen", "mae", "https://me:hunter2@host/x"]
    (tmp_path / "result.json").write_text(json.dumps(content))
    text = parse(write_report(tmp_path)).text
    assert "hunter2" not in text
    assert "postgresql://host/db" in text


def cell_with_result(study: Path) -> Path:
    """The folder of a test of the study, with its result."""
    folder = result(study / "default" / "seed-0" / "elastic", [row("Cu")])
    record = {"variant": "default", "seed": 0, "test": "elastic", "state": "done"}
    (folder / "cell.json").write_text(json.dumps(record))
    return folder


def test_a_study_has_the_state_of_each_cell(tmp_path: Path) -> None:
    tests = {"": {"mae": {"command": "mae", "arguments": []}}}
    variants = {"default": {}, "<direct>": {"model.forces.kind": "direct"}}
    cells = {"": {name: ["train", "mae"] for name in variants}}
    study = {"study": "s", "variants": variants, "seeds": [0, 1], "tests": tests, "cells": cells}
    (tmp_path / "study.json").write_text(json.dumps(study))
    for variant, state in (("default", "done"), ("<direct>", "failed")):
        folder = tmp_path / variant.strip("<>") / "seed-0" / "train"
        folder.mkdir(parents=True)
        failure = "loss is NaN" if state == "failed" else None
        record = {"variant": variant, "seed": 0, "test": "train", "state": state, "failure": failure}
        (folder / "cell.json").write_text(json.dumps(record))
    (tmp_path / "default/seed-0/train/report.html").write_text("")
    (tmp_path / "comparison").mkdir()
    table = {
        "columns": [{"name": "variant"}, {"name": "energy_mae"}],
        "rows": [{"variant": "default", "energy_mae": "7.25 ± 0.5"}],
        "shown": {
            "columns": [{"heading": "variant", "words": True}, {"heading": "E MAE (meV/atom)"}],
            "rows": [["default", "7.25 ± 0.5"], ["direct", "≈ +0.1 ± 0.3"]],
        },
    }
    compared = [{"system": "", "variant": "default", "n": 2}]
    notes = ["how to read it"]
    comparison = {"variants": compared, "tables": {"Mean": table}, "notes": notes, "remarks": ["a remark"]}
    (tmp_path / "comparison" / "comparison.json").write_text(json.dumps(comparison))
    page = parse(write_report(tmp_path))
    assert page.text.index("1 of 8 cells done, 1 failed, 6 not run") < page.text.index("loss is NaN")
    assert "default/seed-0/train/report.html" in page.links
    assert "direct/seed-0/train" in page.links
    assert "E MAE (meV/atom)" in page.headings
    assert page.text.index("a remark") < page.text.index("7.25 ± 0.5") < page.text.index("how to read it")
    assert page.classes["≈ +0.1 ± 0.3"].split() == ["n", "within"]
    assert "1 variant compared over 2 potentials" in parse(write_report(tmp_path / "comparison")).text
    assert "(default, seed 0)" in parse(write_report(cell_with_result(tmp_path))).title
    assert "a remark" in parse(write_report(tmp_path / "comparison")).text
    (tmp_path / "direct/seed-0/train/cell.json").write_text("[]")
    with pytest.raises(InputError, match=r"cell\.json"):
        write_report(tmp_path)


def png() -> bytes:
    """The smallest image that a browser shows."""
    return b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
    )
