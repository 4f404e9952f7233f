import sys
from pathlib import Path

import pytest

from tests.study.drift.small import files


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with structures and a module of potentials, in which the test runs."""
    monkeypatch.chdir(tmp_path)
    files(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    return tmp_path
