"""Cells of a study: one training or test of one variant and seed.

A cell is a folder. Its record, `cell.json`, is written last, so that it says that all other files are there. A cell is
computed under a lock by the process that it runs in, so that several processes may work on one study.
"""

import hashlib
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from esen.errors import InputError, typed_line
from esen.files import RESULT, end_with_parent, locked, read_json, write_json
from esen.recipe import Recipe
from esen.recipe.study import TRAIN, Study, Variant
from esen.study.ablation.changes import difference
from esen.study.environment import code_version
from esen.text import printable
from esen.track import cell_of_study
from esen.train.run_files import LAST

COMPARISON = "comparison"
"""Folder of the comparison of all variants, beside those of the variants."""
EARLIER = "earlier"
"""Folder of the results of cells that were computed again, because the study had changed."""
STUDY = "study.json"
RECORD = "cell.json"
SETTINGS = "cell.settings.json"
LOG = "cell.log"
LOCK = ".cell.lock"
_CLAIMS = (LAST, "recipe.yaml", "manifest.json")
"""Files with which a training or a test begins."""
_INTERRUPTED = 130
_LONGEST_NAME = 80
_HASH_DIGITS = 8
_OF_STUDY = (COMPARISON, EARLIER, STUDY, "study.yaml", "report.html", "slurm", "tracking.json")
"""Names in the folder of a study, which no folder of a variant or system can have."""
State = Literal["done", "failed"]


@dataclass(frozen=True)
class CommandLine:
    """The options of a test, which hold for every variant.

    Attributes:
        command: of esen.
        options: with their values.
        arguments: after the potential.
        resumes: whether the command has the option --resume, which it needs for a folder that it began.
        retries: whether the command has the option --retry.
    """

    command: str
    options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    resumes: bool = False
    retries: bool = False


@dataclass(frozen=True)
class Record:
    """How a cell ended. Field by field what `cell.json` holds.

    Attributes:
        study: name of the study.
        system: name of the system; empty in a study of one.
        variant: name of the variant.
        seed: of the training.
        test: name of the test, or `train`.
        command: of esen.
        argv: its arguments.
        state: whether there are results.
        failure: why there are none, in one line.
        exit_code: of the command.
        seconds: that the last process took.
        versions: of esen that computed it, with digests of the code; several if the cell was resumed with another.
        outdated: what the study has changed since, so that the results are not of the study as it is now; or None.
    """

    study: str
    system: str
    variant: str
    seed: int
    test: str
    command: str
    argv: tuple[str, ...]
    state: State
    failure: str | None
    exit_code: int | None
    seconds: float
    versions: tuple[str, ...] = ()
    outdated: str | None = None

    def is_final(self, *, retry: bool) -> bool:
        """Whether the cell is not computed again: it is by a user who asks for it, or if its process was lost."""
        return self.state == "done" or not (retry or self.exit_code is None)


@dataclass(frozen=True)
class Cell:
    """One training or test.

    Attributes:
        study: name of the study.
        system: name of the system; empty in a study of one.
        variant: name of the variant.
        seed: of the training.
        test: name of the test, or `train`.
        folder: of all its files.
        line: what is run.
        potential: the folder of the training, for a test; empty for a training.
        device: where it runs; empty for the command's default.
        tracked: whether the run is kept in MLflow.
        recipe: of a training.
    """

    study: str
    system: str
    variant: str
    seed: int
    test: str
    folder: Path
    line: CommandLine
    potential: str = ""
    device: str = ""
    tracked: bool = True
    recipe: Recipe | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """What a user sees of it."""
        return ", ".join(filter(None, (self.system, self.variant, f"seed {self.seed}", self.test)))

    @property
    def tags(self) -> dict[str, str]:
        """By which its tracked run is found and grouped."""
        tags = {"study": self.study, "system": self.system, "variant": self.variant}
        return {key: tag for key, tag in tags.items() if tag} | {"seed": str(self.seed), "test": self.test}

    @property
    def is_training(self) -> bool:
        """Whether other cells wait for it."""
        return self.test == TRAIN

    @property
    def begun(self) -> bool:
        """Whether an earlier process claimed the folder for the command."""
        return any((self.folder / name).exists() for name in _CLAIMS)

    @property
    def has_files(self) -> bool:
        """Whether the folder holds results, or a part of them."""
        return self.begun or (self.folder / RECORD).exists()

    @property
    def settings(self) -> dict[str, Any]:
        """What a user may change in the study and the results depend on."""
        if self.recipe is not None:
            return {"recipe": self.recipe.model_dump(mode="json", exclude={"tracking"})}
        line = self.line
        return {"command": line.command, "options": [*line.options], "arguments": [*line.arguments]}

    def kept(self) -> dict[str, Any]:
        """The settings and versions with which the cell was begun last; nothing if they are not known."""
        if not (self.folder / SETTINGS).exists():
            return {}
        return read_json(self.folder / SETTINGS, f"remove {self.folder} to compute the cell again")

    def keep(self, versions: Sequence[str]) -> None:
        """Write the settings and the versions."""
        write_json(self.folder / SETTINGS, {"versions": [*versions], **self.settings})

    def argv(self, *, retry: bool = False) -> tuple[str, ...]:
        """The command as it is run now; another one goes on with what the folder holds."""
        line = self.line
        options = [*line.options, "--output", str(self.folder)]
        options += ["--device", self.device] if self.device else []
        options += [] if self.tracked or self.is_training else ["--no-track"]
        options += ["--resume"] if line.resumes and self.begun else []
        options += ["--retry"] if line.retries and retry else []
        return (line.command, *options, "--", *filter(None, (self.potential,)), *line.arguments)

    def record(self) -> Record | None:
        """How it ended; None if it did not, or if its record is damaged, so that it is computed again."""
        if not (self.folder / RECORD).exists():
            return None
        with suppress(InputError, TypeError, KeyError):
            found = read_json(self.folder / RECORD, "")
            tuples = {"argv": tuple(found["argv"]), "versions": tuple(found.get("versions", ()))}
            record = Record(**found | tuples)
            return record if record.state in get_args(State) else None
        return None

    def ended(self, argv: Sequence[str], failure: str | None, code: int | None, seconds: float) -> Record:
        """Write the record, and return it."""
        state: State = "done" if failure is None else "failed"
        where = (self.study, self.system, self.variant, self.seed, self.test)
        versions = tuple(self.kept().get("versions", ()))
        record = Record(
            *where, self.line.command, tuple(argv), state, failure, code, round(seconds, 3), versions
        )
        write_json(self.folder / RECORD, asdict(record))
        return record

    def mark(self, outdated: str | None) -> None:
        """Say in the record, if there is one, what the study has changed since."""
        if (record := self.record()) is not None and record.outdated != outdated:
            write_json(self.folder / RECORD, asdict(replace(record, outdated=outdated)))

    def run(self, runner: Callable[[Sequence[str]], int], *, retry: bool = False) -> None:
        """Run the command in this process, with its output in `cell.log`, and write the record.

        Nothing is done if another process has ended the cell; one that is at work on it is waited for.

        Args:
            runner: runs a command of esen and returns its exit code.
            retry: whether a cell that failed is computed again.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder, LOCK, wait=True):
            known = self.record()
            if known is not None and known.is_final(retry=retry):
                return
            before = self.kept() if self.has_files else {}
            if before and (why := difference(before, self.settings)):  # a job queued before the study changed
                self.ended((), f"{why} since the folder was begun", None, 0.0)
                return
            (self.folder / RECORD).unlink(missing_ok=True)  # it is not of this attempt, which may be killed
            self.keep(list(dict.fromkeys([*before.get("versions", ()), code_version()])))
            argv, start = self.argv(retry=retry), time.monotonic()
            title = " ".join(filter(None, (self.system, self.variant, f"seed {self.seed}", self.test)))
            with cell_of_study(title, self.tags), _output_to(self.folder / LOG):
                code, defect = _exit_code(runner, argv)
            if code == _INTERRUPTED:
                sys.exit(code)
            self.ended(argv, defect or self._failure(code), code, time.monotonic() - start)

    def _failure(self, code: int) -> str | None:
        """Why there are no results. Exit code 1 says of a test that its results are bad, and is no failure."""
        if code == 0 or (code == 1 and not self.is_training and (self.folder / RESULT).exists()):
            return None
        return last_error(self.folder / LOG) or f"exit code {code}"


def cells_of(
    study: Study, output: Path, lines: Mapping[tuple[str, str], CommandLine], *, device: str = ""
) -> list[Cell]:
    """Return the cells of a study, the first seed of all variants first.

    Args:
        study: with its variants and tests.
        output: folder of the study.
        lines: by system and test, how the test is run.
        device: where all cells run; empty for the default of the commands.

    Raises:
        InputError: the names of two variants, systems or tests would lead to one folder.
    """
    _check_names(study)
    cells: list[Cell] = []
    for seed in study.spec.seeds:
        for variant in study.variants:
            folder = output / _safe(variant.system) / _safe(variant.name) / f"seed-{seed}"
            tracked = variant.seeds[seed].tracking.enabled
            where = (study.name, variant.system, variant.name, seed)
            recipe, line = variant.seeds[seed], _training(variant, seed)
            training = Cell(*where, TRAIN, folder / TRAIN, line, "", device, tracked, recipe)
            cells.append(training)
            for test in study.tests_of(variant.system, variant.name):
                own = folder / _safe(test.name)
                line, weights = lines[test.system, test.name], str(training.folder)
                cells.append(Cell(*where, test.name, own, line, weights, device, tracked))
    return cells


def needed_of(cells: Sequence[Cell], chosen: Callable[[Cell], bool]) -> list[Cell]:
    """Return the cells that a user has chosen, and the trainings that these need."""
    asked = {cell for cell in cells if chosen(cell)}
    trainings = {cell.potential for cell in asked}
    return [cell for cell in cells if cell in asked or str(cell.folder) in trainings]


def work_of(cells: Sequence[Cell], kept: Mapping[Cell, Record], chosen: Callable[[Cell], bool]) -> list[Cell]:
    """Return the cells to compute: those that are needed and not kept, but no test of a training that has failed."""
    failed = {str(cell.folder) for cell, one in kept.items() if cell.is_training and one.state == "failed"}
    needed = needed_of(cells, chosen)
    return [cell for cell in needed if cell not in kept and cell.potential not in failed]


def run_in_process(
    cell: Cell, runner: Callable[[Sequence[str]], int], retry: bool, environment: Mapping[str, str]
) -> None:
    """Run a cell in a process of its own, which ends with its parent and is stopped by SIGTERM."""
    os.environ.update(environment)
    end_with_parent()
    cell.run(runner, retry=retry)


def exit_reason(code: int | None) -> str:
    """Why a process ended without a record, in words."""
    if code is not None and code < 0:
        with suppress(ValueError):
            name = signal.Signals(-code).name
            more = "; the system was probably out of memory" if name == "SIGKILL" else ""
            return f"the process was killed by {name}{more}"
    return f"the process ended with exit code {code}"


def _exit_code(runner: Callable[[Sequence[str]], int], argv: Sequence[str]) -> tuple[int, str | None]:
    """Run a command. Its exit code, and the error if it is a defect of the command, with which no other cell ends."""
    try:
        return runner(argv), None
    except Exception as error:
        traceback.print_exc()
        return 1, typed_line(error)


def last_error(log: Path) -> str | None:
    """Return the last line of a log that says what is wrong, or its last line; None if there is none."""
    with suppress(OSError):
        text = log.read_bytes()[-20_000:].decode(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        if errors or lines:
            return printable((errors or lines)[-1])
    return None


def _training(variant: Variant, seed: int) -> CommandLine:
    settings = [part for one in variant.settings(seed) for part in ("--set", one)]
    return CommandLine("train", tuple(settings), (str(variant.recipe.absolute()),), resumes=True)


def _check_names(study: Study) -> None:
    """Refuse names that would share a folder."""
    systems = dict.fromkeys(variant.system for variant in study.variants)
    for names in (
        systems,
        dict.fromkeys(variant.name for variant in study.variants),
        dict.fromkeys((TRAIN, *(test.name for test in study.tests))),
    ):
        taken = {} if TRAIN in names else dict.fromkeys(_OF_STUDY, "a file of the study itself")
        for name in names:
            other = taken.setdefault(_safe(name).lower(), repr(name))
            if other != repr(name):
                raise InputError(f"{study.path}: {name!r} would have the same folder as {other}; rename it")


def _safe(name: str) -> str:
    """A name of a folder for a name of the user. A long one is cut off, and differs by its hash."""
    kept = re.sub(r"[^\w.,=+-]", "_", name, flags=re.ASCII).lstrip(".") or ("_" if name else "")
    if len(kept) <= _LONGEST_NAME:
        return kept
    digest = hashlib.sha256(name.encode(errors="backslashreplace")).hexdigest()[:_HASH_DIGITS]
    return f"{kept[: _LONGEST_NAME - _HASH_DIGITS - 1]}-{digest}"


@contextmanager
def _output_to(log: Path) -> Iterator[None]:
    """Send what this process prints to a file, to which it is appended."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    with log.open("ab") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for descriptor, original in zip((1, 2), kept, strict=True):
                os.dup2(original, descriptor)
                os.close(original)
