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
    sys.modules.pop("mine", None)  # that of an earlier test
    return tmp_path
