"""The report of a study: the state of each of its trainings and tests, with links to their own reports."""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from esen.study.ablation.cells import EARLIER, RECORD, STUDY
from esen.study.report.content import Page
from esen.study.report.sheet import Cell, Sheet, listing, mark_of, sheet_of
from esen.study.report.stored import REPORT, CellKey, StoredCell, StoredStudy, read_stored
from esen.text import duration


def add_study(page: Page, folder: Path) -> None:
    """Add the state of the cells of a study, what it consists of, and how it is resumed.

    Raises:
        InputError: `study.json` or the record of a cell is damaged.
    """
    study = read_stored(folder / STUDY, StoredStudy)
    cells: dict[CellKey, tuple[StoredCell, Path]] = {}
    for path in sorted(folder.rglob(RECORD)):
        one = read_stored(path, StoredCell)
        if EARLIER not in path.relative_to(folder).parts[:1]:
            cells[one.key] = (one, path.parent)
    wanted = study.planned
    tests = list(dict.fromkeys(key[3] for key in wanted))
    names = ["system", "variant", "seed"] if list(study.cells) != [""] else ["variant", "seed"]
    matrix = []
    for row in dict.fromkeys(key[:3] for key in wanted):
        labels = [Cell(str(part), head=True) for part in row[-len(names) :]]
        keys = [(*row, test) for test in tests]
        matrix.append(
            [*labels, *(_state(cells.get(key), folder) if key in wanted else Cell("") for key in keys)]
        )
    every = [cells[key][0] for key in wanted if key in cells]
    found = [one for one in every if not one.outdated]
    failures = [one for one in found if one.state != "done"]
    page.title = f"Study: {study.study}"
    page.summary = f"{len(found) - len(failures)} of {len(wanted)} cells done"
    outdated, missing = len(every) - len(found), len(wanted) - len(every)
    for count, what in ((len(failures), "failed"), (outdated, "outdated"), (missing, "not run")):
        page.summary += f", {count} {what}" if count else ""
    page.summary += "."
    page.mark = "bad" if failures else "doubtful" if missing or outdated else "good"
    page.results.append(sheet_of("Cells", [*names, *tests], matrix, whole="the folders of the cells"))
    if failures:
        page.results.append(_failures(failures, cells, folder))
    page.settings.append(
        sheet_of("Variants", ["variant", "differs from the base by"], study.variants.items(), whole=STUDY)
    )
    commands = {
        f"{system}, {name}" if system else name: shlex.join(
            ["esen", test.command, "POTENTIAL", *test.arguments]
        )
        for system, mine in study.tests.items()
        for name, test in mine.items()
    }
    page.settings.append(listing("Tests", commands))
    page.versions["esen"] = study.version
    command = shlex.join(["esen", "ablate", str(folder / "study.yaml"), "--output", str(folder)])
    page.commands.append(("Resume the study, or give a new folder to compute it again", command))


def address(path: Path, folder: Path) -> str:
    """Return the relative address of a file for a page in a folder, also if its name is not UTF-8."""
    return quote(os.fsencode(os.path.relpath(path, folder)))


def _state(known: tuple[StoredCell, Path] | None, folder: Path) -> Cell:
    if known is None:
        return Cell("not run", mark="doubtful")
    one, place = known
    if one.outdated:
        return Cell("outdated", mark="doubtful", link=address(place, folder))
    time = "" if one.seconds is None else f" ({duration(one.seconds)})"
    report = place / REPORT if (place / REPORT).is_file() else place
    return Cell(f"{one.state}{time}", mark=mark_of(one.state), link=address(report, folder))


def _failures(
    failures: Sequence[StoredCell], cells: Mapping[CellKey, tuple[StoredCell, Path]], folder: Path
) -> Sheet:
    rows = []
    for one in failures:
        place = cells[one.key][1]
        where = Cell(os.path.relpath(place, folder), link=address(place, folder))
        rows.append([where, one.state, one.failure or "no reason was recorded"])
    return sheet_of("Failures", ["cell", "state", "reason"], rows, whole=f"{RECORD} of each cell")
