"""`report.html`: everything that a folder of results holds, on one page that needs no network.

The page is made from the files of the folder alone, so that `esen report` makes it again, and so that a folder of an
older version or of another machine has one too. `page.py` reads the folder and fills in the `Page` of `content.py`,
`study.py` adds the cells of a study and `recipe.py` the recipe of a run, `sheet.py` makes tables, `figures.py` embeds
figures, and `report.html.j2` is the page.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from esen.errors import typed_line
from esen.study.report.page import write_report
from esen.study.report.stored import REPORT
from esen.track import NullTracker, Tracker

__all__ = ["REPORT", "finish", "write_report"]

_log = logging.getLogger(__name__)


def finish(output: Path, paths: Mapping[str, Path], tracker: Tracker | None = None) -> dict[str, Path]:
    """Write the report of a command beside its results, and track all files. It is the last step of every command.

    A report that cannot be made is a warning, because the results are complete without it.

    Args:
        output: Folder of the results.
        paths: Files that were written, by what they hold.
        tracker: Of the run.

    Returns:
        The paths with that of the report.
    """
    written = dict(paths)
    try:
        written["report"] = write_report(output)
    except Exception as error:  # a full disk, or a defect of the report, of any type
        _log.warning(
            "%s: cannot be made (%s); the results are complete without it",
            output / REPORT,
            typed_line(error),
        )
    tracker = tracker or NullTracker()
    for path in written.values():
        if path.is_file():
            tracker.artifact(path)
    return written
