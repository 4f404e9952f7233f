"""Frames of a test that were also trained on: what a run keeps of its training frames, and what a user is told."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from esen.data.duplicates import are_among, geometry_keys
from esen.data.frames import Subset
from esen.data.structure import Structure
from esen.errors import InputError
from esen.files import read_arrays, write_arrays
from esen.text import first_few
from esen.train.data import Report, TrainingData
from esen.train.run_files import LAST

GEOMETRIES = "training-frames.npz"
"""File of a run with one key (8 bytes) for each geometry that it was trained on."""


def report_overlap(data: TrainingData, test: Sequence[Structure], run: Path, report: Report) -> None:
    """Keep the geometries of the training frames in the folder of a run, and report which others repeat them.

    Raises:
        OSError: The file cannot be written.
    """
    keys = geometries_of(run / LAST)
    if keys is None:
        train = data.train
        if isinstance(train, Subset):  # a source may be repeated
            train = Subset(train.frames, np.unique(train.indices))
        keys = geometry_keys(train)
        write_arrays(run / GEOMETRIES, {"keys": keys})
    for frames, what in ((data.validation, "validation"), (test, "test")):
        if line := overlap_line(trained_on(frames, keys), len(frames), f"{what} frames"):
            report(f"warning: {line}")
    if any(are_among(test, geometry_keys(data.validation))):
        report("warning: some test frames are also validation frames, by which the best weights are chosen")


def geometries_of(weights: Path) -> np.ndarray | None:
    """Return the keys that a run keeps beside its weights; None if there are none."""
    try:
        return read_arrays(weights.parent / GEOMETRIES)["keys"]
    except (InputError, KeyError):
        return None


def trained_on(frames: Sequence[Structure], keys: np.ndarray) -> list[str]:
    """Return the sources of the frames whose geometry has one of the keys."""
    return [frames[int(i)].source for i in np.flatnonzero(are_among(frames, keys))]


def overlap_line(sources: Sequence[str], total: int, what: str) -> str | None:
    """Return a line about frames that are also training frames; None if there are none."""
    if not sources:
        return None
    return (
        f"{len(sources)} of {total} {what} are also training frames (same elements, cell and positions), so that"
        f" their errors are too small: {first_few(sources, between='; ')}"
    )
