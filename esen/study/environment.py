"""With what a result was computed: the command, and the versions and machine that its last digits depend on."""

import hashlib
import platform
import re
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch

from esen import __version__
from esen.text import without_secrets

_DIGITS = 8


def environment() -> dict[str, Any]:
    """Return the command of this process, the folder it was called in, versions, and the machine.

    The command is None where `esen` was called from Python. Passwords in addresses are left out.
    """
    program, *arguments = sys.argv
    is_command = Path(program).stem in ("esen", "app")
    gpu = None
    if torch.cuda.is_available():
        with suppress(RuntimeError):  # another process has it for itself
            gpu = torch.cuda.get_device_name()
    return {
        "command": ["esen", *map(without_secrets, arguments)] if is_command else None,
        "folder": str(Path.cwd()),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_name(),
        "gpu of the machine": gpu,
    }


@cache
def code_version() -> str:
    """Return the version of esen with a digest of its source files, which tells two states of a checkout apart.

    The digest is of the names and contents of all Python files of the package, and does not depend on its place.
    """
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()}\0{len(content)}\0".encode() + content)
    return f"{__version__}, code {digest.hexdigest()[:_DIGITS]}"


def cpu_name() -> str:
    """Return the model of the processor; its architecture if that is not known."""
    with suppress(OSError):
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()
