"""Names of the best weights, before and after stages are added."""

from pathlib import Path

import pytest

from esen.train.best import best_path, settle_best
from tests.train.small import recipe_of

ONE, TWO = ([{"epochs": 1}] * count for count in (1, 2))


@pytest.mark.parametrize(
    ("stages", "stage", "name"),
    [(ONE, 0, "best"), (TWO, 0, "best-stage1"), (TWO, 1, "best")],
)
def test_only_the_last_stage_writes_the_best(stages: list[dict[str, int]], stage: int, name: str) -> None:
    recipe = recipe_of(Path("a.xyz"), train__stages=stages)
    assert best_path(Path("run"), recipe, stage) == Path("run") / f"{name}.safetensors"


def test_a_stage_that_is_no_longer_the_last_gives_up_the_name(tmp_path: Path) -> None:
    (tmp_path / "best.safetensors").write_text("first")
    settle_best(tmp_path, recipe_of(Path("a.xyz"), train__stages=TWO), 0)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("best-stage1.safetensors", "first")]
    settle_best(tmp_path, recipe_of(Path("a.xyz"), train__stages=ONE), 0)
    assert [p.name for p in tmp_path.iterdir()] == ["best.safetensors"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "best.safetensors").write_text("second")
    (tmp_path / "best-stage1.safetensors").write_text("first")
    settle_best(tmp_path, recipe_of(Path("a.xyz"), train__stages=TWO), 0)
    assert (tmp_path / "best.safetensors").read_text() == "second"
    assert (tmp_path / "best-stage1.safetensors").read_text() == "first"
