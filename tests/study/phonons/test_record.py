"""What is kept of one crystal."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from esen.errors import InputError
from esen.evaluate.phonons.crystal import Known
from esen.evaluate.phonons.protocol import PROTOCOLS
from esen.study.materials.records import read_record, write_record
from esen.study.phonons.record import Record, failed
from esen.study.phonons.rows import error_rows, lines_of, mean_errors, row_of

VALUES = {"max_frequency": 300.0, "entropy": 75.0, "free_energy": -7.0, "heat_capacity": 48.0}
KNOWN = {"max_frequency": 310.0, "entropy": 74.0, "free_energy": -7.5, "heat_capacity": None}
GOOD = Record("NaCl", "ClNa", 2, 64, VALUES, KNOWN, 300.0, 6.2, 3, -0.5, (0.5, 0.0, 0.0), (225, 221), False)
BAD = failed("UO2", Known(entropy=1.0), "no uranium")


@pytest.mark.parametrize(
    "record", [replace(GOOD, rmse=0.1), replace(GOOD, rmse=0.2, groups=None, converged=None)]
)
def test_round_trip(record: Record, tmp_path: Path) -> None:
    write_record(tmp_path / "a.json", record)
    assert read_record(tmp_path / "a.json", Record) == record


def test_failures_round_trip(tmp_path: Path) -> None:
    write_record(tmp_path / "a.json", BAD)
    found = read_record(tmp_path / "a.json", Record)
    assert (found.failure, found.known["entropy"], found.values) == ("no uranium", 1.0, {})
    assert np.isnan(found.lowest)
    assert np.isnan(found.error("entropy"))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "a"}'])
def test_damaged_records_are_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match="not a record of this command"):
        read_record(path, Record)


def test_errors_are_means_over_what_is_known() -> None:
    other = replace(GOOD, values=VALUES | {"entropy": 77.0}, known=KNOWN | {"max_frequency": None})
    found = mean_errors([GOOD, other, BAD])
    assert found["max_frequency"] == 10.0
    assert found["entropy"] == 2.0
    assert np.isnan(found["heat_capacity"])
    (row,) = error_rows({"emt": [GOOD, other, BAD], "lj": [BAD]})
    assert row["crystals"] == "2 of 3"
    assert row["MAE(ω_max) K"] == "10"
    assert row["MAE(C_V) J/K/mol"] is None
    assert (row["failed"], row["imaginary"]) == ("1", "2")


def test_rows_and_lines() -> None:
    row = row_of("emt", GOOD)
    assert (row["group"], row["verdict"], row["S"]) == ("225→221", "3 imaginary", "75.000")
    assert row_of("emt", BAD)["verdict"] == "failed"
    assert row_of("emt", replace(GOOD, groups=(225, 225), imaginary=0))["group"] == "225"
    protocol = PROTOCOLS["mdr-fair"]
    lines = lines_of({"emt": [GOOD, BAD]}, replace(protocol, displacement=0.03))
    assert any("NOT the protocol as it is: displacement 0.03" in line for line in lines)
    assert "emt, UO2: no uranium" in lines
    assert "emt, NaCl: the relaxation did not come to its end" in lines
    assert not any("NOT" in line for line in lines_of({}, protocol))
