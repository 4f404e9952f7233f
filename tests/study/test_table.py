"""One declaration of a quantity gives every output of it."""

import csv
from dataclasses import dataclass

from esen.study.potentials import potential_sources
from esen.study.table import Column, Table, write_result


@dataclass(frozen=True)
class Found:
    name: str
    gap: float = float("nan")
    failure: str = ""


COLUMNS = (
    Column[Found]("name", wraps=True),
    Column[Found]("gap", "E_g", "eV/Å³", format=".2f", better="less", tracked=True),
    Column[Found]("verdict", value=lambda found: "failed" if found.failure else "ok", stored=False),
    Column[Found]("failure", shown=False),
)
TABLE = Table(COLUMNS, [Found("a_1 & b", 1.23456), Found("c", failure="no\nband")])


def test_terminal() -> None:
    assert TABLE.texts() == [
        {"name": "a_1 & b", "E_g (eV/Å³)": "1.23", "verdict": "ok"},
        {"name": "c", "E_g (eV/Å³)": None, "verdict": "failed"},
    ]
    assert TABLE.wrapping == {"name"}


def test_csv() -> None:
    first, second = csv.DictReader(TABLE.csv().splitlines(keepends=True))
    assert first == {"name": "a_1 & b", "gap (eV/Å³)": "1.23456", "failure": ""}
    assert second == {"name": "c", "gap (eV/Å³)": "", "failure": "no\nband"}


def test_json(tmp_path) -> None:  # type: ignore[no-untyped-def]
    import json

    path = write_result(
        tmp_path,
        "gaps",
        potentials=potential_sources(["emt"], {}),
        settings={"at": (1, 2)},
        table=TABLE,
        means=[0.5],
    )
    content = json.loads(path.read_text())
    assert (content["command"], content["settings"], content["means"]) == ("gaps", {"at": [1, 2]}, [0.5])
    assert content["potentials"]["emt"]["given"] == "emt"
    assert content["columns"][1] == {"name": "gap", "symbol": "E_g", "unit": "eV/Å³", "better": "less"}
    assert content["rows"][0] == {"name": "a_1 & b", "gap": 1.23456, "failure": ""}
    assert content["rows"][1]["gap"] is None


def test_latex() -> None:
    lines = TABLE.latex().splitlines()
    assert lines[0] == r"\begin{tabular}{lrr}"
    assert lines[2] == r"name & E\_g (eV/\AA{}$^3$) & verdict \\"
    assert lines[4] == r"a\_1 \& b & 1.23 & ok \\"
    assert lines[5] == r"c & -- & failed \\"


def test_metrics() -> None:
    assert TABLE.metrics(TABLE.records[0]) == {"gap_eV_per_A3": 1.23456}
    assert TABLE.metrics(TABLE.records[1]) == {}
