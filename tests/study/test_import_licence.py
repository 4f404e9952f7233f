from pathlib import Path

import pytest

from esen.errors import InputError
from esen.study.import_licence import Licence, find_licence


def test_what_is_named_comes_before_what_lies_beside(tmp_path: Path) -> None:
    checkpoint = tmp_path / "best.pt"
    assert find_licence(checkpoint, None) == Licence("", "")
    (tmp_path / "LICENCE.md").write_text("# Beside\n")
    (tmp_path / "mine").write_text("Mine")
    (tmp_path / "LICENSES").mkdir()
    assert find_licence(checkpoint, None) == Licence("LICENCE.md", "# Beside\n")
    assert find_licence(checkpoint, tmp_path / "mine") == Licence("mine", "Mine")


def test_it_is_told_in_one_line() -> None:
    assert Licence("L", "\n# The Terms #\nBe good.").describe() == "The Terms (L)"
    assert len(Licence("L", "x" * 500).describe()) < 80
    assert "give it by --licence FILE" in Licence("", "").describe()


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("none", "binary"):
        with pytest.raises(InputError, match=f"{name}: the licence cannot be read"):
            find_licence(tmp_path / "best.pt", tmp_path / name)
