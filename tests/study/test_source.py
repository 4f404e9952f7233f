"""What a run is called, and which run `esen train R --resume` goes on with."""

import os
import re
from pathlib import Path

import pytest

from esen.errors import InputError
from esen.files import locked
from esen.models.checkpoint import Checkpoint, save_checkpoint
from esen.study.source import RunSource, unfinished_run

BASE = """
model: {cutoff: 4.0, lmax: 2, mmax: 2}
data: {train: [{path: a.xyz}]}
train: {batch: {atoms: 64}, stages: [{epochs: 9}]}
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "recipes" / "quick.yaml"
    path.parent.mkdir()
    path.write_text(BASE)
    return path


def name_of(recipe: Path, *overrides: str) -> str:
    source = RunSource(recipe, overrides)
    return source.name(source.load())


def test_a_name_says_what_differs(recipe: Path) -> None:
    assert name_of(recipe) == "quick"
    assert name_of(recipe, "model.lmax=3", "train.seed=1", "model.mmax=2") == "quick lmax=3 seed=1"
    assert (
        name_of(recipe, "train.stages.0.epochs=3", "model.radial.kind=bessel")
        == "quick radial=bessel epochs=3"
    )
    assert name_of(recipe, "tracking.experiment=other") == "quick"
    wide = recipe.with_name("wide.yaml")
    wide.write_text("extends: quick.yaml\nmodel: {sphere_channels: 64}\n")
    assert name_of(wide, "train.seed=1") == "wide sphere_channels=64 seed=1"
    many = [
        "model.layers=7",
        "model.sphere_channels=99",
        "model.hidden_channels=99",
        "model.edge_channels=99",
    ]
    many += ["train.ema=0.5", "train.precision=float64", "train.optimizer.weight_decay=0.25"]
    assert len(name_of(recipe, *many)) <= 120


def made(recipe: Path, name: str, epochs: int, *overrides: str, evaluated: bool = True) -> Path:
    """A folder of a run that has done so many of 9 epochs."""
    folder = Path("runs") / name
    folder.mkdir(parents=True)
    source = RunSource(recipe, overrides)
    source.keep(folder)
    progress = {"stage": 0, "epoch": epochs, "batch": 0, "step": 1, "seconds": 1.0}
    plain = source.load().model_dump(mode="json")
    save_checkpoint(folder / "last.safetensors", Checkpoint(plain, (), {}, {}, progress))
    if evaluated:
        (folder / "summary.json").write_text("{}")
    return folder


def test_the_newest_unfinished_run_is_resumed(recipe: Path) -> None:
    runs = Path("runs")
    with pytest.raises(InputError, match=r"no run of quick"):
        unfinished_run(RunSource(recipe), runs)
    first = made(recipe, "quick", 9)
    with pytest.raises(
        InputError, match=r"runs/quick: finished.*esen train runs/quick/recipe\.yaml --resume"
    ):
        unfinished_run(RunSource(recipe), runs)
    older = made(recipe, "quick-2", 3)
    newer = made(recipe, "quick-3", 4, "model.lmax=3")
    assert unfinished_run(RunSource(recipe), runs) == newer
    with locked(newer), pytest.raises(InputError, match=rf"{newer} is being trained.*{older}"):
        unfinished_run(RunSource(recipe), runs)
    (first / "summary.json").unlink()  # stopped in the evaluation
    (older / "last.safetensors").unlink()
    assert unfinished_run(RunSource(first / "recipe.yaml"), runs) == first


def test_the_settings_that_are_given_choose_among_the_unfinished_runs(recipe: Path) -> None:
    one, two = made(recipe, "quick", 3, "train.seed=1"), made(recipe, "quick-2", 3, "train.seed=2")
    for given, expected in (("train.seed=1", one), ("train.seed=2", two), ("train.seed=3", two)):
        assert unfinished_run(RunSource(recipe, (given,)), Path("runs")) == expected


def test_the_runs_of_a_recipe_that_was_moved_are_found(recipe: Path) -> None:
    folder = made(recipe, "quick", 3)
    moved = recipe.replace(recipe.parent.parent / "quick.yaml")
    assert unfinished_run(RunSource(moved), Path("runs")) == folder


def test_a_recipe_of_the_same_name_elsewhere_has_other_runs(recipe: Path) -> None:
    made(recipe, "quick", 3)
    other = recipe.parent.parent / "quick.yaml"
    other.write_text(BASE)
    with pytest.raises(InputError, match="no run of quick"):
        unfinished_run(RunSource(other), Path("runs"))


def test_the_settings_of_the_command_are_those_of_the_run(recipe: Path) -> None:
    folder = made(recipe, "quick", 3, "model.lmax=3", "tracking.uri=http://me:s3cret@h")
    assert "s3cret" not in (folder / "source.json").read_text()
    again = RunSource(recipe, ("train.seed=5",)).resuming(folder)
    loaded = again.load()
    assert (loaded.model.lmax, loaded.train.seed, loaded.tracking.uri) == (3, 5, "http://h")
    own = RunSource(folder / "recipe.yaml").resuming(folder)
    assert own.overrides == ()  # the recipe of the folder holds them
    assert re.fullmatch(r"esen train \S+quick.yaml --set .*lmax=3.*", again.command)


def test_runs_of_earlier_versions_are_found_by_their_names(recipe: Path) -> None:
    def begun(name: str, file: str, seconds: int) -> Path:
        folder = Path("runs") / name
        folder.mkdir(parents=True)
        (folder / file).touch()
        os.utime(folder / file, (seconds, seconds))
        return folder

    begun("quick", "last.safetensors", 100)
    newest = begun("quick-2", "recipe.yaml", 300)
    begun("quick-3", "last.safetensors", 200)
    begun("quick-4", "metrics.csv", 900)  # nothing to resume from
    begun("quick-big", "last.safetensors", 900)  # the run of another recipe
    begun("quicker", "last.safetensors", 900)
    assert unfinished_run(RunSource(recipe), Path("runs")) == newest
