"""What may change between two processes of one run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from esen.errors import InputError
from esen.models.checkpoint import Checkpoint, save_checkpoint
from esen.recipe import Recipe, at_stage
from esen.train.data import load_training_data
from esen.train.resume import (
    adapt,
    check_same_data,
    is_finished,
    read_resumable,
    recipe_changes,
    resume_notes,
    run_model,
)
from esen.train.state import Progress
from tests.train.small import crystals, recipe_of, write_frames


def checkpoint_of(recipe: Recipe, **progress: Any) -> Checkpoint:
    at = {"stage": 0, "epoch": 0, "batch": 0, "step": 0} | progress
    return Checkpoint(recipe.model_dump(mode="json"), (8, 12), {}, {}, at)


def lines(before: Recipe, now: Recipe, **progress: Any) -> list[str]:
    return resume_notes(Path("runs/a"), checkpoint_of(before, **progress), now)


@pytest.fixture
def recipe() -> Recipe:
    return recipe_of(Path("a.xyz"))


def test_a_run_without_a_checkpoint_begins_anew(recipe: Recipe, tmp_path: Path) -> None:
    assert read_resumable(tmp_path, recipe) is None
    assert resume_notes(Path("runs/a"), None, recipe) == [
        "resuming runs/a: it was stopped before its first checkpoint, so it begins at step 0"
    ]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model__cutoff", 4.0, r"model\.cutoff = 3\.5.*4\.0"),
        ("model__radial", {"kind": "bessel"}, r"model\.radial\.kind = gaussian.*bessel"),
        ("data__references", "none", r"data\.references = least_squares.*none"),
        ("train__optimizer", {"kind": "muon"}, r"train\.optimizer\.kind = adamw.*muon"),
    ],
)
def test_what_may_not_change(key: str, value: Any, message: str, recipe: Recipe, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last.safetensors", checkpoint_of(recipe))
    with pytest.raises(InputError, match=message) as error:
        read_resumable(tmp_path, recipe_of(Path("a.xyz"), **{key: value}))
    assert str(error.value).startswith(str(tmp_path / "last.safetensors"))
    assert read_resumable(tmp_path, recipe) is not None


def test_the_backend_may_change(recipe: Recipe, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last.safetensors", checkpoint_of(recipe))
    now = recipe_of(Path("a.xyz"), model__graph={"kind": "cutoff", "backend": "nvalchemi"})
    assert read_resumable(tmp_path, now) is not None
    assert lines(recipe, now)[1] == "note: the recipe has changed: model.graph.backend vesin → nvalchemi"


def test_weights_alone_cannot_be_resumed(recipe: Recipe, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last.safetensors", replace(checkpoint_of(recipe), progress={}))
    with pytest.raises(InputError, match="no state of training"):
        read_resumable(tmp_path, recipe)


def test_a_recipe_that_this_version_cannot_read(recipe: Recipe, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(recipe)
    checkpoint.recipe["train"]["stages"] = []
    save_checkpoint(tmp_path / "last.safetensors", checkpoint)
    with pytest.raises(InputError, match=r"train\.stages"):
        read_resumable(tmp_path, recipe)


def test_all_other_changes_are_said(recipe: Recipe) -> None:
    now = recipe_of(
        Path("b.xyz"), train__stages=[{"epochs": 2}, {"epochs": 5}], train__optimizer={"learning_rate": 1e-3}
    )
    assert recipe_changes(checkpoint_of(recipe), recipe, Path("x")) == {}
    assert recipe_changes(checkpoint_of(recipe), now, Path("x")) == {
        "data.train.0.path": ("a.xyz", "b.xyz"),
        "train.optimizer.learning_rate": (1e-2, 1e-3),
        "train.stages.1.epochs": ("none", 5),
    }
    assert lines(recipe, now, epoch=1, step=7) == [
        "resuming runs/a: at step 7, stage 1, epoch 2 of 2, from its last checkpoint",
        "note: the recipe has changed: data.train.0.path a.xyz → b.xyz,"
        " train.optimizer.learning_rate 0.01 → 0.001, train.stages.1.epochs none → 5",
    ]


def test_many_changes_are_cut_short(recipe: Recipe) -> None:
    now = recipe_of(Path("a.xyz"), train__stages=[{"epochs": 2}] + [{"epochs": 1}] * 8)
    assert lines(recipe, now)[1].endswith("train.stages.6.epochs none → 1, and 2 more")


@pytest.mark.parametrize(
    ("stage", "epoch", "finished", "words"),
    [
        (0, 0, False, "stage 1, epoch 1 of 2"),
        (0, 1, False, "stage 1, epoch 2 of 2"),
        (0, 2, False, "stage 2, epoch 1 of 3"),
        (1, 2, False, "stage 2, epoch 3 of 3"),
        (1, 3, True, "the training is finished"),
        (1, 4, True, "the training is finished"),  # fewer epochs than were done
        (2, 0, True, "the training is finished"),  # fewer stages
    ],
)
def test_resume_notes(stage: int, epoch: int, finished: bool, words: str) -> None:
    recipe = recipe_of(Path("a.xyz"), train__stages=[{"epochs": 2}, {"epochs": 3}])
    assert is_finished(checkpoint_of(recipe, stage=stage, epoch=epoch), recipe) is finished
    (line,) = lines(recipe, recipe, stage=stage, epoch=epoch)
    assert words in line


def test_one_stage_is_not_counted(recipe: Recipe) -> None:
    (line,) = lines(recipe, recipe, epoch=1, step=3)
    assert line == "resuming runs/a: at step 3, epoch 2 of 2, from its last checkpoint"


STAGES = [{"epochs": 2, "forces": {"kind": "direct"}, "dens": {}}, {"epochs": 1}]


@pytest.mark.parametrize(
    ("stage", "change", "legal"),
    [
        (0, {"dens": {"std": 0.2}}, True),
        (0, {"dens": None}, False),
        (0, {"forces": None}, False),
        (1, {"forces": None}, False),  # the stage is over; what was trained stays as it was described
        (0, {"epochs": 7}, True),
        (0, {"optimizer": {"beta1": 0.8}}, True),
        (0, {"optimizer": {"kind": "muon"}}, False),
    ],
)
def test_a_stage_that_was_begun_keeps_its_network(
    stage: int, change: dict[str, Any], legal: bool, tmp_path: Path
) -> None:
    before = recipe_of(Path("a.xyz"), model__lmax=2, train__stages=STAGES)
    save_checkpoint(tmp_path / "last.safetensors", checkpoint_of(before, stage=stage))
    now = recipe_of(Path("a.xyz"), model__lmax=2, train__stages=[STAGES[0] | change, STAGES[1]])
    if legal:
        assert read_resumable(tmp_path, now) is not None
    else:
        with pytest.raises(InputError, match=r"train\.stages\.0\.(forces|dens|optimizer)"):
            read_resumable(tmp_path, now)


def test_a_stage_to_come_may_change_its_network(tmp_path: Path) -> None:
    before = recipe_of(Path("a.xyz"), model__lmax=2, train__stages=STAGES)
    save_checkpoint(tmp_path / "last.safetensors", checkpoint_of(before, stage=0))
    now = recipe_of(Path("a.xyz"), model__lmax=2, train__stages=[STAGES[0], STAGES[1] | {"dens": {}}])
    assert read_resumable(tmp_path, now) is not None


def test_the_model_of_the_run_is_compared_and_not_that_of_the_stage(tmp_path: Path) -> None:
    recipe = recipe_of(Path("a.xyz"), model__lmax=2, train__stages=STAGES)
    checkpoint = checkpoint_of(recipe, stage=0, model=recipe.model.model_dump(mode="json"))
    checkpoint.recipe["model"] = at_stage(recipe, 0).model.model_dump(mode="json")
    assert recipe_changes(checkpoint, recipe, Path("x")) == {}
    assert run_model(checkpoint) == recipe.model.model_dump(mode="json")


@pytest.mark.parametrize("key", ["train.stages.1.loss.forces", "train.stages.1.batch.atoms"])
def test_a_change_of_another_stage_is_no_change_of_this_one(key: str) -> None:
    progress = Progress(stage=0, batch=3, best=0.5)
    adapt(progress, {key: None}, has_best=True)
    assert progress == Progress(stage=0, batch=3, best=0.5)
    later = Progress(stage=1, batch=3, best=0.5)
    adapt(later, {key: None}, has_best=True)
    assert (later.batch, later.best) in {(0, 0.5), (3, None)}


def test_other_frames_are_refused(tmp_path: Path) -> None:
    recipe = recipe_of(write_frames(tmp_path / "a.xyz", crystals(5)))
    data = load_training_data(recipe, lambda _: None)
    checkpoint = checkpoint_of(recipe, data=data.fingerprint)
    check_same_data(checkpoint, data, tmp_path)
    write_frames(tmp_path / "a.xyz", crystals(6))
    with pytest.raises(InputError, match=r"other frames"):
        check_same_data(checkpoint, load_training_data(recipe, lambda _: None), tmp_path)


@pytest.mark.parametrize(
    ("changed", "has_best", "batch", "best"),
    [
        ([], True, 3, 0.5),
        (["train.batch.atoms"], True, 0, 0.5),
        (["train.loss.forces"], True, 3, None),
        (["train.stages.0.epochs"], True, 3, 0.5),
        ([], False, 3, None),
    ],
)
def test_the_progress_is_fitted_to_a_changed_recipe(
    changed: list[str], has_best: bool, batch: int, best: float
) -> None:
    progress = Progress(epoch=1, batch=3, step=9, best=0.5)
    adapt(progress, dict.fromkeys(changed), has_best=has_best)
    assert progress == Progress(epoch=1, batch=batch, step=9, best=best)
