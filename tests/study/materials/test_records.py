"""Records survive as they are."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from esen.errors import InputError
from esen.study.materials.failures import reason_of
from esen.study.materials.records import read_record, write_record


@dataclass(frozen=True)
class Kept:
    name: str
    value: float = float("nan")
    groups: tuple[int, ...] | None = None
    matrix: list[list[float]] | None = None


@pytest.mark.parametrize(
    "record", [Kept("a", 1.5, (1, 2), [[1.0]]), Kept("é", 2.0), Kept("b", float("inf")), Kept("c")]
)
def test_round_trip(record: Kept, tmp_path: Path) -> None:
    write_record(tmp_path / "a.json", record)
    found = read_record(tmp_path / "a.json", Kept)
    assert (found.name, found.groups, found.matrix) == (record.name, record.groups, record.matrix)
    assert found.value == record.value or (np.isnan(found.value) and not np.isfinite(record.value))


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", "null"),
        *('{"name": "a", "colour": 1}', '{"name": "a", "value": "x"}', '{"name": "a", "groups": 3}'),
    ],
)
def test_damage_is_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"a\.json: not a record of this command"):
        read_record(path, Kept)


def test_reasons(tmp_path: Path) -> None:
    kept = tmp_path / "out" / "a.traceback.txt"
    assert reason_of(InputError("no uranium"), kept) == "no uranium"
    assert not kept.exists()
    assert reason_of(ValueError("two\nlines"), kept) == "ValueError: two (traceback in a.traceback.txt)"
    assert "ValueError: two" in kept.read_text()
