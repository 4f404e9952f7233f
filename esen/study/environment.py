"""With what a result was computed: the command, and the versions and machine that its last digits depend on."""

import platform
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from esen.text import without_secrets


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


def cpu_name() -> str:
    """Return the model of the processor; its architecture if that is not known."""
    with suppress(OSError):
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()
