import pytest

from esen.recipe import Recipe
from esen.recipe.advice import advice


def recipe(*stages: dict[str, object], dens: bool, **train: object) -> Recipe:
    return Recipe.model_validate(
        {
            "model": {"dens": dens},
            "data": {"train": [{"path": "a.xyz"}]},
            "train": {"stages": list(stages)} | train,
        }
    )


def test_parts_for_denoising_that_nothing_trains() -> None:
    (line,) = advice(recipe({"epochs": 1}, {"epochs": 2}, dens=True))
    assert line.startswith("model.dens is true, but no stage of train.stages has `dens`")


@pytest.mark.parametrize(
    "given",
    [
        recipe({"epochs": 1}, dens=False),
        recipe({"epochs": 1, "dens": {}}, {"epochs": 1}, dens=True),
        recipe({"epochs": 1, "dens": {}}, dens=False),
        recipe({"epochs": 0}, dens=True, init_from="x.safetensors"),
    ],
    ids=["none", "trained in one stage", "in the stage alone", "only evaluated"],
)
def test_what_is_in_order_needs_no_advice(given: Recipe) -> None:
    assert advice(given) == []
