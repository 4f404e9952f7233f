"""What differs between the settings of a cell, in words."""

from typing import Any

import pytest

from esen.recipe.load import load_recipe
from esen.recipe.shipped import find_recipe
from esen.study.ablation.changes import difference


def of_test(*options: str, files: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"command": "md-drift", "options": list(options), "arguments": list(files)}


def of_recipe(**changes: Any) -> dict[str, Any]:
    recipe = load_recipe(find_recipe("quickstart"))
    model = recipe.model.model_copy(update=changes)
    return {
        "recipe": recipe.model_copy(update={"model": model}).model_dump(mode="json", exclude={"tracking"})
    }


@pytest.mark.parametrize(
    "before, now, words",
    [
        (of_test("--timestep", "-1"), of_test("--timestep", "1"), "timestep -1 → 1"),
        (of_test("--order-test"), of_test(), "order-test given → not given"),
        (of_test("--data", "/a/x.xyz"), of_test("--data", "/b/x.xyz"), "data /a/x.xyz → /b/x.xyz"),
        (of_test("--data", "/a/x.xyz"), of_test("--data", "/a/y.xyz"), "data x.xyz → y.xyz"),
        (of_test("--s", "a", "--s", "b"), of_test("--s", "b", "--s", "a"), "s a, b → b, a"),
        (of_test(files=("a.cif",)), of_test(files=("b.cif",)), "files a.cif → b.cif"),
        (of_test(), of_test() | {"command": "mae"}, "command changed (md-drift → mae)"),
        (of_recipe(), of_recipe(layers=7), "model.layers 2 → 7"),
    ],
)
def test_every_difference_is_named(before: dict[str, Any], now: dict[str, Any], words: str) -> None:
    found = difference(before, now)
    assert found is not None
    assert words in found
    assert difference(now, now) is None


def test_a_recipe_of_an_earlier_version_has_the_defaults_of_new_keys() -> None:
    before = of_recipe()
    del before["recipe"]["model"]["dens"]
    assert difference(before, of_recipe()) is None


def test_a_recipe_that_is_none_any_more_is_a_change() -> None:
    before = of_recipe()
    before["recipe"]["model"]["no_such_key"] = 1
    found = difference(before, of_recipe())
    assert found is not None
    assert "no_such_key" in found
