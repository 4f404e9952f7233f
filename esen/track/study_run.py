"""The study that a process computes a part of: the runs of the process are kept below the run of the study."""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace

from esen.errors import first_line

VARIABLE = "ESEN_STUDY_RUN"
"""Environment variable that holds a `StudyRun` as JSON."""
_PARENT, _VARIANT = "mlflow.parentRunId", "variant"

logger = logging.getLogger("esen.track")


@dataclass(frozen=True)
class StudyRun:
    """The tracked run of a study, and what the runs of one of its cells are called.

    Attributes:
        run_id: identifier of the study's own run; empty if no store has accepted it yet.
        uri: address of its store, without a password; empty if the study itself is not tracked.
        experiment: its experiment.
        name: name of the cell's run; empty outside of a cell.
        tags: tags of the cell's run. They replace those that the command gives.
    """

    run_id: str = ""
    uri: str = ""
    experiment: str = ""
    name: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def current(cls) -> "StudyRun | None":
        """Return what the environment says; None outside of a study, and with a warning if it cannot be read."""
        text = os.environ.get(VARIABLE)
        if not text:
            return None
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError) as error:
            logger.warning("tracking: $%s is ignored: %s", VARIABLE, first_line(error)[:200])
            return None

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables of a process that computes a part of the study. They hold no secret."""
        return {VARIABLE: json.dumps(asdict(self))}

    def tags_of_run(self, place: Mapping[str, str], *, other_potential: bool = False) -> dict[str, str]:
        """Return the tags of a run of the cell: it lies below the study's run if both are in the same experiment.

        Args:
            place: address and experiment of the run, as `Tracker.place` has them.
            other_potential: whether the run is of a potential that is no variant of the study.
        """
        tags = {key: tag for key, tag in self.tags.items() if not (other_potential and key == _VARIANT)}
        together = dict(place) == {"uri": self.uri, "experiment": self.experiment}
        return tags | ({_PARENT: self.run_id} if self.run_id and together else {})

    @property
    def store_is_silent(self) -> bool:
        """Whether the store has not accepted the run of the study, so that little is to be expected of it."""
        return bool(self.uri) and not self.run_id


@contextmanager
def cell_of_study(name: str, tags: Mapping[str, str]) -> Iterator[None]:
    """Within the block, runs of this process and of its children are those of a cell of the study.

    Args:
        name: name of the cell's run.
        tags: its tags.
    """
    before = os.environ.get(VARIABLE)
    os.environ.update(replace(StudyRun.current() or StudyRun(), name=name, tags=dict(tags)).variables)
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
