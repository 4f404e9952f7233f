from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from esen.data.structure import Structure
from esen.train.sparse import warn_without_edges
from tests.train.small import crystals, recipe_of


def told(frames: list[Structure], cutoff: float, tmp_path: Path) -> list[str]:
    lines: list[str] = []
    recipe = recipe_of(tmp_path / "a.xyz", model__cutoff=cutoff)
    warn_without_edges(recipe, frames, lines.append)
    return lines


def test_a_cutoff_below_the_shortest_distance_is_told_of(tmp_path: Path) -> None:
    frames = crystals(5)
    assert told(frames, 3.5, tmp_path) == []
    (line,) = told(frames, 0.35, tmp_path)
    assert line.startswith(
        "warning: no two atoms of the 5 frames to train on are within model.cutoff, 0.35 Å"
    )


def test_one_frame_with_edges_is_enough(tmp_path: Path) -> None:
    frames = crystals(5)
    apart = [replace(f, positions=f.positions * 100, cell=f.cell * 100) for f in frames]
    assert len(told(apart, 3.5, tmp_path)) == 1
    assert told([*apart, frames[0]], 3.5, tmp_path) == []


def test_of_many_frames_some_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[float] = []

    def search(positions: np.ndarray, *_: object) -> tuple[np.ndarray, ...]:
        looked.append(float(positions[0, 0]))
        return (np.zeros(0),) * 3

    monkeypatch.setattr("esen.train.sparse.neighbour_list", search)
    (frame,) = crystals(1)
    many = [replace(frame, positions=frame.positions * 0 + i) for i in range(3000)]
    assert len(told(many, 3.5, tmp_path)) == 1
    assert len(looked) == 1000
    assert (looked[0], looked[-1]) == (0.0, 2999.0)
