"""The tracked run of a study: parent of the runs of its cells, with the means and deviations over the seeds."""

import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from shlex import join
from typing import Any, Self

from esen.files import StopSignal
from esen.md.calculator import choose_device
from esen.recipe.study import Study
from esen.study.ablation.cells import COMPARISON
from esen.study.compare import Comparison
from esen.study.compare.layout import markdown
from esen.study.potentials import distinct
from esen.study.table import Column
from esen.study.tracked import own_store, run_tags
from esen.text import without_secrets
from esen.track import NullTracker, StudyRun, Tracker, make_tracker
from esen.track.mlflow_tracker import legal_key
from esen.train.run_files import keep_tracking, kept_run_id, kept_tracking

_LONGEST_WAIT = 30.0
"""Seconds that the cells wait for the store to accept the run of the study; a new database takes some."""
_POLL_SECONDS = 0.1
_SECTION = "variants"
_LONGEST_PART = 70
"""Letters of quantity, system and variant in the key of a metric, which has at most 250."""
_CREDENTIALS = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_LONGEST_NOTE = 4500
"""MLflow keeps 5000 characters of a description; a table that is cut off is not shown as one."""

_log = logging.getLogger(__name__)


class StudyTracking:
    """The tracked run of a study, open within the block. It keeps nothing if the trainings are not tracked.

    Args:
        study: whose recipes say where runs are kept.
        output: its folder. The run that it names is continued.
        command: of the user.
        device: as the user gave it.
    """

    def __init__(self, study: Study, output: Path, *, command: Sequence[str], device: str) -> None:
        self.command = command
        self._study, self._output, self._device = study, output, device
        self._tracker = _tracker(study, output)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            self._tracker.__exit__(*error)
        finally:  # the run is known at the latest when it has closed
            self._keep()

    @property
    def links(self) -> Mapping[str, str]:
        """Where MLflow shows the study, once the block has ended."""
        return self._tracker.links

    def begin(self) -> None:
        """Report what the study is, when its folder is known to be its own."""
        study = self._study
        settings = study.spec.model_dump(mode="json", exclude_unset=True, exclude={"launch"})
        settings["variants"] = {variant.name: variant.changes for variant in study.variants}
        settings["seeds"] = ", ".join(map(str, study.spec.seeds))
        self._tracker.params(settings | {"base variant": study.base})
        if self._tracker.place:
            tags = run_tags("ablate", self._output, choose_device(self._device)) | {"study": study.name}
            self._tracker.tags(tags | {"mlflow.note.content": self._note()})

    def variables(self, stop: StopSignal | None = None) -> dict[str, str]:
        """Return the environment variables by which the runs of cells become children of the study's run.

        The store gives that run its identifier, so its answer is waited for, at most half a minute. The store also
        makes a new database, which several cells could not make at the same time.

        Args:
            stop: ends the wait.
        """
        place = self._tracker.place
        if not place:
            return {}
        limit = time.monotonic() + _LONGEST_WAIT
        while not (self._tracker.answered(_POLL_SECONDS) or (stop and stop.raised)):
            if time.monotonic() > limit:
                break
        self._keep()
        return StudyRun(self._tracker.run_id or "", place["uri"], place["experiment"]).variables

    def report(
        self, *, cells: str, failures: int, comparison: Comparison | None, paths: Iterable[Path]
    ) -> None:
        """Report the means over the seeds and the files of a study that has ended.

        Args:
            cells: how many have been computed, in words.
            failures: number of cells that failed.
            comparison: of all variants; None if there is none.
            paths: files that were written.
        """
        self._tracker.tags({"cells": cells, "failures": str(failures)})
        if comparison is not None:
            self._tracker.metrics(roll_up(comparison), 0)  # MLflow shows a metric of step 0 as a bar
            self._tracker.tags({"mlflow.note.content": self._note(markdown(comparison))})
        given = self._output / "study.yaml"
        has_secrets = without_secrets(self._study.text) != self._study.text
        for path in (*paths, *([] if has_secrets else [given])):
            if path.is_file():
                self._tracker.artifact(path, COMPARISON if path.parent.name == COMPARISON else "")

    def _keep(self) -> None:
        keep_tracking(self._output, self._tracker.run_id, place=self._tracker.place)

    def _note(self, table: str = "") -> str:
        """Return the description of the run in Markdown."""
        note = f"`{join(self.command)}`\n\nfolder `{self._output.absolute()}`"
        whole = f"{table}\n\n{note}"
        return whole if table and len(whole) <= _LONGEST_NOTE else note


def _tracker(study: Study, output: Path) -> Tracker:
    """Return the tracker of a study, in the store and experiment of its trainings."""
    recipes = (recipe for variant in study.variants for recipe in variant.seeds.values())
    tracking = next((recipe.tracking for recipe in recipes if recipe.tracking.enabled), None)
    if tracking is None:
        return NullTracker()
    known = kept_tracking(output)
    secret = tracking.uri is not None and without_secrets(tracking.uri) != tracking.uri
    if secret and study.tests and not any(map(os.environ.get, _CREDENTIALS)):
        _log.warning(
            "tests do not get the password in tracking.uri of the recipe; for their runs to be kept, give it in"
            " MLFLOW_TRACKING_URI"
        )
    uri = tracking.uri or (None if os.environ.get("MLFLOW_TRACKING_URI") else own_store(known))
    return make_tracker(True, uri, tracking.experiment, study.name, kept_run_id(output))


def roll_up(comparison: Comparison) -> dict[str, float]:
    """Return mean, sample deviation (`.sd`) and number of seeds (`.n`) of each quantity that the tables show.

    A key has the quantity with its unit, then system and variant: `variants/energy_mae_meV_per_atom/direct.sd`. MLflow
    makes a section of each quantity, after those of the cells' own metrics. No two keys are the same in any store.
    """
    found = [
        ((Column(heading.name, unit=heading.unit).metric, line.system, line.variant), cell)
        for heading in comparison.columns
        for line in comparison.lines
        if (cell := line.cells.get(heading.name)) is not None
    ]
    keys = distinct(["/".join((_SECTION, *(_key(part) for part in parts if part))) for parts, _ in found])
    metrics: dict[str, float] = {}
    for key, (_, cell) in zip(keys, found, strict=True):
        metrics[key] = cell.mean
        metrics[f"{key}.n"] = cell.n
        if cell.deviation is not None:
            metrics[f"{key}.sd"] = cell.deviation
    return metrics


def _key(part: str) -> str:
    """Return a part of the key of a metric, which is no path of its own."""
    return legal_key(part.replace("/", "_"))[:_LONGEST_PART]
