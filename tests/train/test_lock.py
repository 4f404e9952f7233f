import sys
from pathlib import Path

import pytest

from esen.errors import InputError
from esen.train.lock import locked

fcntl = pytest.importorskip("fcntl")


def test_a_folder_is_locked_once(tmp_path: Path) -> None:
    with locked(tmp_path):
        with pytest.raises(InputError, match="another process is at work in it; wait"), locked(tmp_path):
            pass
        assert not list(tmp_path.iterdir())
    with locked(tmp_path):
        pass


def test_an_error_unlocks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x"), locked(tmp_path):
        raise ValueError("x")
    with locked(tmp_path):
        pass


def test_where_there_are_no_locks_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path), locked(tmp_path):
        pass
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with locked(tmp_path), locked(tmp_path):
        pass
