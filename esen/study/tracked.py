"""How runs are called and described in MLflow, and how a test is connected to the training that it judges."""

import logging
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from esen import __version__
from esen.errors import InputError
from esen.md.calculator import choose_device, find_weights
from esen.models.checkpoint import read_checkpoint
from esen.recipe import Recipe, at_stage
from esen.recipe.load import flatten
from esen.study.environment import cpu_name
from esen.study.potentials import is_checkpoint, labelled
from esen.track import Status, StudyRun, Tracker, make_tracker
from esen.track.address import database_file
from esen.train.run_files import kept_tracking

_log = logging.getLogger(__name__)


def run_tags(command: str, output: Path, device: str) -> dict[str, str]:
    """Return what every run says of itself: command, folder, and what it is computed with.

    Args:
        command: name of the command.
        output: folder of the results.
        device: as torch calls it; empty if it is not known.
    """
    if device.startswith("cuda"):
        device = f"{device} ({_gpu_name(device)})"
    return {
        "mlflow.source.name": f"esen {command}",
        "command": command,
        "folder": str(output.absolute()),
        "device": device,
        "host": platform.node(),
        "cpu": cpu_name(),
        "esen": __version__,
    }


def device_name(device: str) -> str:
    """Return the kind of a device, by which times of different machines are told apart.

    Args:
        device: as torch calls it.
    """
    return f"cuda, {_gpu_name(device)}" if device.startswith("cuda") else f"{device}, {cpu_name()}"


def _gpu_name(device: str) -> str:
    import torch

    return str(torch.cuda.get_device_name(device))


def git_tags(file: Path) -> dict[str, str]:
    """Return the commit of the repository that a file lies in; nothing if there is none."""
    command = ["git", "describe", *["--always", "--dirty", "--abbrev=40", "--exclude=*"]]
    folder = file.absolute().parent
    with suppress(OSError, subprocess.SubprocessError):
        found = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=5, check=True)
        commit, _, dirty = found.stdout.strip().partition("-")
        return {"mlflow.source.git.commit": commit, "mlflow.source.git.dirty": str(bool(dirty))}
    return {}


@dataclass(frozen=True, eq=False)
class Training:
    """The training that made a checkpoint.

    Attributes:
        label: of the potential.
        recipe: of the training; None for other potentials.
        tracked: its entry in the store: `run_id`, `name`, `uri`, `experiment`; empty if it is not known.
    """

    label: str
    recipe: Recipe | None = None
    tracked: Mapping[str, Any] = field(default_factory=dict)

    @property
    def variant(self) -> str:
        """The name of the run of the training; of the potential if it is not known."""
        return str(self.tracked.get("name", self.label))

    @classmethod
    def of(cls, label: str, potential: str) -> "Training":
        """Read what a checkpoint and its folder say about the training."""
        if not is_checkpoint(potential) or not Path(potential).exists():
            return cls(label)
        try:
            path = find_weights(Path(potential))
            recipe = Recipe.model_validate(read_checkpoint(path).recipe)
        except (InputError, ValidationError):  # the command reports it; imported weights have no whole recipe
            return cls(label)
        return cls(label, recipe, kept_tracking(path.parent))


class PotentialTrackers(Tracker):
    """One run per potential, side by side, so that MLflow's tables and charts compare them.

    What is reported of the whole test is kept in each. Each has the parameters of the training that made the potential,
    and the tags `variant` and `training_run`: grouped by `variant`, MLflow shows all results of a training in one row.

    Args:
        trackers: by label.
        trainings: by label.
    """

    def __init__(self, trackers: Mapping[str, Tracker], trainings: Mapping[str, Training]) -> None:
        self._trackers, self._trainings = trackers, trainings

    @property
    def links(self) -> dict[str, str]:
        """See `Tracker`."""
        return next(iter(self._trackers.values())).links

    def params(self, values: Mapping[str, Any]) -> None:
        """See `Tracker`."""
        for label, tracker in self._trackers.items():
            recipe = self._trainings[label].recipe
            trained = {} if recipe is None else flatten(recipe) | {"parameters": parameters_of(recipe)}
            tracker.params(trained | dict(values))

    def tags(self, values: Mapping[str, str]) -> None:
        """See `Tracker`."""
        for tracker in self._trackers.values():
            tracker.tags(values)

    def artifact(self, path: Path, folder: str = "") -> None:
        """See `Tracker`."""
        for tracker in self._trackers.values():
            tracker.artifact(path, folder)

    def of(self, potential: str) -> Tracker:
        """See `Tracker`."""
        return self._trackers[potential]

    def close(self, status: Status = "FINISHED") -> None:
        """See `Tracker`."""
        for tracker in self._trackers.values():
            tracker.close(status)


def open_test(
    command: str, potentials: Sequence[str], output: Path, *, device: str, enabled: bool = True
) -> Tracker:
    """Return the tracker of a test of potentials, in the store and experiment of the first one's training.

    Args:
        command: name of the command.
        potentials: as `resolve_potential` takes them.
        output: folder of the results.
        device: as the user gave it.
        enabled: whether the test is tracked.
    """
    if not enabled:
        return make_tracker(False)
    trainings = {label: Training.of(label, text) for label, text in labelled(potentials).items()}
    known: Mapping[str, Any] = next((one.tracked for one in trainings.values() if one.tracked), {})
    uri = None if os.environ.get("MLFLOW_TRACKING_URI") else own_store(known)
    place = choose_device(device)
    trackers: dict[str, Tracker] = {}
    for label, training in trainings.items():
        name = f"{command} {training.variant}"
        first = next(iter(trackers.values()), None)
        trackers[label] = (
            first.sibling(name) if first else make_tracker(True, uri, known.get("experiment"), name)
        )
        run_id = training.tracked.get("run_id")
        link = {"training_run": str(run_id)} if run_id else {}
        trackers[label].tags(run_tags(command, output, place) | {"variant": training.variant} | link)
    return PotentialTrackers(trackers, trainings)


def own_store(tracked: Mapping[str, Any]) -> str | None:
    """Return the database that a training or a study is tracked in, if it is a file of this machine.

    A folder of a run may come from anybody, so its word is not enough to send results to a server, unless it is the
    server of the study that this process computes a cell of.

    Args:
        tracked: content of its `tracking.json`.
    """
    uri = str(tracked.get("uri", ""))
    study = StudyRun.current()
    if study is not None and uri == study.uri:
        return uri or None
    database = database_file(uri)
    if database is not None:
        return uri if database.is_file() else None
    if uri:
        _log.warning(
            "an earlier run is tracked at %s; to add this one beside it, set MLFLOW_TRACKING_URI to this address",
            uri,
        )
    return None


def parameters_of(recipe: Recipe) -> int:
    """Return the number of trained weights of the last stage."""
    from esen.models.cost import parameter_count

    return parameter_count(at_stage(recipe, len(recipe.train.stages) - 1).model)
