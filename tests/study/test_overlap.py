"""Frames of a test that were also trained on are counted and named."""

import json
from pathlib import Path

import numpy as np
import pytest

from esen.data.frames import FrameList, Subset
from esen.data.readers import load_structures
from esen.data.references import fit_references
from esen.files import read_arrays
from esen.recipe import SourceSpec
from esen.study.mae import run_mae
from esen.study.overlap import GEOMETRIES, geometries_of, report_overlap
from esen.study.train import TrainingResult
from esen.train.data import TrainingData
from tests.train.small import crystals, write_frames


def data_of(train: int, validation: int) -> TrainingData:
    frames = list(crystals(train + validation))
    repeated = Subset(FrameList(frames), np.repeat(np.arange(train), 2))
    return TrainingData(repeated, frames[train:], fit_references(frames[:train], 20), 1.0)


def test_repeated_frames_are_named_at_the_start(tmp_path: Path) -> None:
    frames, said = list(crystals(8)), list[str]()
    report_overlap(data_of(4, 2), frames[7:], tmp_path, said.append)
    assert said == []
    keys = geometries_of(tmp_path / "best.safetensors")
    assert keys is not None
    assert len(keys) == 4
    (tmp_path / GEOMETRIES).write_bytes(b"PK")  # damaged: computed again
    report_overlap(data_of(4, 2), [*frames[2:4], frames[7]], tmp_path, said.append)
    (line,) = said
    assert line.startswith("warning: 2 of 3 test frames are also training frames")
    assert frames[2].source in line
    report_overlap(data_of(4, 2), frames[5:], tmp_path, said.append)
    assert "also validation frames" in said[-1]


def test_mae_names_what_the_run_was_trained_on(
    trained_run: TrainingResult, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = trained_run.paths["run"]
    kept = read_arrays(run / GEOMETRIES)["keys"]
    run_mae([str(run)], [SourceSpec(path=str(run.parent / "test.xyz"))], output=tmp_path / "new")
    assert "training frames" not in caplog.text
    given = str(
        write_frames(
            tmp_path / "train.xyz",
            reversed(load_structures([SourceSpec(path=str(run.parent / "train.xyz"))])),
        )
    )
    run_mae([str(run)], [SourceSpec(path=given)], output=tmp_path / "old")
    assert f"{len(kept)} of 9 structures are also training frames" in caplog.text
    found = [
        list(json.loads((tmp_path / folder / "result.json").read_text())["also_trained_on"].values())
        for folder in ("new", "old")
    ]
    assert found[0] == [[]]
    assert len(found[1][0]) == len(kept) > 0
