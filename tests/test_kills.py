"""What was killed at random moments is resumed to the same bits."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_sixty_kills(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.kills", str(tmp_path), "20"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count(" kills of ") == 3
