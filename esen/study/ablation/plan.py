"""Which cells of a study are computed now, and which ones the study has changed since they were begun."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from esen.errors import InputError
from esen.files import locked
from esen.study.ablation.cells import EARLIER, LOCK, Cell, Record, needed_of, work_of
from esen.study.ablation.changes import difference


@dataclass(frozen=True)
class Change:
    """What a user has changed since cells were begun.

    Attributes:
        system: Name of the system; empty in a study of one.
        what: The test, or the variant whose recipe has changed.
        text: The difference in words.
    """

    system: str
    what: str
    text: str

    def __str__(self) -> str:
        return f"{', '.join(filter(None, (self.system, self.what)))}: {self.text}"


@dataclass(frozen=True)
class Again:
    """Which cells are computed although they have ended.

    Attributes:
        retry: Those that failed.
        recompute: Those whose recipe or options have changed since.
    """

    retry: bool = False
    recompute: bool = False


NOTHING_AGAIN = Again()


@dataclass(frozen=True, eq=False)
class Plan:
    """What a call of `esen ablate` computes.

    Attributes:
        needed: Cells that the user has chosen, and the trainings that these need.
        work: Those of them that are computed now.
        kept: Records of the cells that have ended and are of the study as it is now.
        replaced: Cells whose files are moved away first, because the study has changed since.
        left_out: Cells that are of the study as it was, and stay as they are.
    """

    needed: list[Cell]
    work: list[Cell]
    kept: Mapping[Cell, Record]
    replaced: Mapping[Cell, Change]
    left_out: Mapping[Cell, Change]

    @property
    def lines(self) -> list[str]:
        """One line per change."""
        stay = "left out; --recompute computes them again and keeps their earlier files"
        return _lines(self.replaced, "computed again") + _lines(self.left_out, stay)

    @property
    def is_complete(self) -> bool:
        """Whether no cell that the user has chosen is left out."""
        return not set(self.needed) & self.left_out.keys()


def make_plan(cells: Sequence[Cell], chosen: Callable[[Cell], bool], again: Again) -> Plan:
    """Decide what is computed.

    A cell that the study has changed since it was begun is computed again if the user asks for it, or if it had failed,
    so that no result is lost. The tests of a training follow it.

    Args:
        cells: All of the study, each training before its tests.
        chosen: Which cells the user wants.
        again: Which cells are computed although they have ended.

    Raises:
        InputError: The settings of a cell are damaged.
    """
    records = {cell: record for cell in cells if (record := cell.record()) is not None}
    changes = changed_cells(cells)
    needed = needed_of(cells, chosen)
    replaced: dict[Cell, Change] = {}
    trainings: set[str] = set()
    for cell, change in changes.items():
        failed = cell in records and records[cell].state == "failed" and records[cell].is_final(retry=False)
        if cell.potential in trainings or (cell in needed and (again.recompute or failed)):
            replaced[cell] = change
            trainings |= {str(cell.folder)} if cell.is_training else set()
    left_out = {cell: change for cell, change in changes.items() if cell not in replaced}
    kept = {
        cell: record
        for cell, record in records.items()
        if cell not in changes and record.is_final(retry=again.retry)
    }
    work = [cell for cell in work_of(cells, kept, chosen) if cell not in left_out]
    return Plan(needed, work, kept, replaced, left_out)


def changed_cells(cells: Iterable[Cell]) -> dict[Cell, Change]:
    """Return the cells that the study has changed since they were begun, with all tests of such trainings.

    Args:
        cells: All of the study, each training before its tests.

    Raises:
        InputError: The settings of a cell are damaged.
    """
    found: dict[Cell, Change] = {}
    of_training: dict[str, Change] = {}
    for cell in cells:
        if cell.potential in of_training:
            found[cell] = of_training[cell.potential]
        elif cell.has_files and (before := cell.kept()) and (text := difference(before, cell.settings)):
            what = f"variant {cell.variant}" if cell.is_training else cell.test
            found[cell] = Change(cell.system, what, text)
            if cell.is_training:
                of_training[str(cell.folder)] = found[cell]
    return found


def mark_changed(cells: Sequence[Cell]) -> dict[Cell, Change]:
    """Say in the record of each cell whether the study has changed since, so that it is not compared; return these."""
    changes = changed_cells(cells)
    for cell in cells:
        cell.mark(str(changes[cell]) if cell in changes else None)
    return changes


def move_away(replaced: Mapping[Cell, Change], output: Path) -> Path | None:
    """Move the files of cells into a new folder `earlier/N` of the study. Return it; None if there are no files.

    Tests are moved before their training, so that no test is ever taken for one of the next training.

    Raises:
        InputError: Another process is at work on one of the cells.
    """
    cells = sorted((cell for cell in replaced if cell.folder.is_dir()), key=lambda cell: cell.is_training)
    if not cells:
        return None
    used = [int(path.name) for path in (output / EARLIER).glob("*") if path.name.isdecimal()]
    folder = output / EARLIER / str(1 + max(used, default=0))
    for cell in cells:
        with locked(cell.folder, LOCK):
            cell.mark(str(replaced[cell]))
    for cell in cells:
        target = folder / cell.folder.relative_to(output)
        target.parent.mkdir(parents=True, exist_ok=True)
        cell.folder.rename(target)
    return folder


def refuse_queued(replaced: Iterable[Cell], queued: Mapping[str, tuple[str, str, int]]) -> None:
    """Refuse to compute cells again that a queued job would compute with the earlier settings.

    Raises:
        InputError: There is such a job.
    """
    chains = {(cell.system, cell.variant, cell.seed) for cell in replaced}
    if jobs := [job for job, chain in queued.items() if chain in chains]:
        raise InputError(
            f"{', '.join(jobs)}: jobs that Slurm has queued or runs would compute what has changed since with the"
            f" earlier settings; end them first: scancel {' '.join(jobs)}"
        )


def _lines(changes: Mapping[Cell, Change], what: str) -> list[str]:
    groups: dict[Change, int] = {}
    for change in changes.values():
        groups[change] = groups.get(change, 0) + 1
    return [
        f"{change}; {count} cell{'s are' if count > 1 else ' is'} {what}" for change, count in groups.items()
    ]
