"""The content of a report."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from esen.study.report.figures import Figure
from esen.study.report.sheet import Mark, Sheet


@dataclass
class Page:
    """The content of a report, filled in from the files of a folder one after the other.

    Attributes:
        title: What was done, with what.
        summary: The verdict in one sentence.
        mark: Whether it is good or bad news.
        remarks: What a reader has to know beside it.
        results: Tables of results.
        notes: What has to be known to read them.
        figures: Images.
        figures_note: Which images are not on the page.
        recipe: Tables of the recipe of a training.
        recipe_note: What is not known of it.
        settings: Everything else that the numbers depend on.
        commands: What computes the results again, after what each does.
        versions: With what they were computed.
        files: The files of the folder.
    """

    title: str = ""
    summary: str = ""
    mark: Mark = ""
    remarks: list[str] = field(default_factory=list)
    results: list[Sheet] = field(default_factory=list)
    notes: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    figures_note: str = ""
    recipe: Sequence[Sheet] = ()
    recipe_note: str = ""
    settings: list[Sheet] = field(default_factory=list)
    commands: list[tuple[str, str]] = field(default_factory=list)
    versions: dict[str, Any] = field(default_factory=dict)
    files: Sheet | None = None
