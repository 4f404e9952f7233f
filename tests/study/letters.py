"""Work that writes one file per part, and does what the name of the part says."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from esen.errors import InputError
from esen.evaluate.model import Progress


@dataclass(frozen=True)
class Letters:
    """Jobs are words; a part is a letter. `k` kills the process, `x` raises, `s` is slow."""

    output: Path
    loads: bool = True

    def begin(self) -> Callable[[str, Progress], None]:
        """Nothing to load."""
        if not self.loads:
            raise InputError("no such potential")

        def do(job: str, progress: Progress) -> None:
            for number, letter in enumerate(job):
                if not self.path(letter).exists():
                    _act(letter)
                    self.write(letter, "")
                progress(number + 1, len(job))

        return do

    def missing(self, job: str) -> list[str]:
        """Letters."""
        return [letter for letter in job if not self.path(letter).exists()]

    def give_up(self, job: str, reason: str) -> None:
        """A letter."""
        self.write(job, reason)

    def name(self, job: str) -> str:
        """Itself."""
        return job

    def path(self, letter: str) -> Path:
        """Of a record."""
        return self.output / f"{letter}.json"

    def write(self, letter: str, failure: str) -> None:
        """A record, with the process that wrote it."""
        self.output.mkdir(exist_ok=True)
        self.path(letter).write_text(json.dumps({"failure": failure, "process": os.getpid()}))


def _act(letter: str) -> None:
    if letter == "k":
        os.kill(os.getpid(), 9)
    if letter == "l":
        os._exit(9)
    if letter == "x":
        raise ValueError("not a letter")
    if letter == "s":
        time.sleep(30)
