"""Which structures are relaxed."""

from pathlib import Path

import pytest

from esen.errors import InputError
from esen.study.relax.choose import choose_inputs


def test_names_and_order() -> None:
    Path("other").mkdir()
    Path("other/cu.cif").write_bytes(Path("cu.cif").read_bytes())
    found = choose_inputs(["u.xyz", "metals.xyz", "cu.cif", "other/cu.cif"])
    assert [one.name for one in found] == ["u", "metals#0", "metals#1", "metals#2", "cu", "cu-2"]
    assert [len(one.structure) for one in found] == [1, 1, 1, 1, 4, 4]
    some = choose_inputs(["metals.xyz"], "1:")
    assert [one.name for one in some] == ["metals#1", "metals#2"]
    assert [one.name for one in choose_inputs(["metals.xyz"], "-1:")] == ["metals"]


def test_a_structure_is_known_by_its_geometry() -> None:
    (first,) = choose_inputs(["cu.cif"])
    Path("cu.cif").write_text(Path("cu.cif").read_text().replace("3.61", "3.62"))
    (second,) = choose_inputs(["cu.cif"])
    assert first.described.startswith("cu.cif, frame 0 (sha256 ")
    assert first.described != second.described


def test_mistakes() -> None:
    Path("empty.xyz").touch()
    for file, frames, words in (
        ("none.xyz", ":", "none.xyz: no such file"),
        ("empty.xyz", ":", "empty.xyz: the file is empty"),
        ("cu.cif", "2:", "cu.cif: frames '2:' selects nothing"),
    ):
        with pytest.raises(InputError, match=words):
            choose_inputs([file], frames)
