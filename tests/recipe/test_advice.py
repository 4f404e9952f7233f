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


@pytest.mark.parametrize(("epochs", "warmup", "said"), [(2, 1.9, 0), (2, 2, 1), (2, 50, 1)])
def test_a_warm_up_that_fills_the_training(epochs: int, warmup: float, said: int) -> None:
    whole = advice(recipe({"epochs": epochs}, dens=False, schedule={"warmup_epochs": warmup}))
    stage = {"epochs": epochs, "schedule": {"warmup_epochs": warmup}}
    assert len(whole) == len(advice(recipe({"epochs": 100}, stage, dens=False))) == said


@pytest.mark.parametrize("where", ["train", "stage"])
def test_a_loss_without_any_weight_is_refused(where: str) -> None:
    none = {"energy": 0, "forces": 0, "stress": 0}
    stage = {"epochs": 1} | ({"loss": none} if where == "stage" else {})
    with pytest.raises(ValueError, match=r"all weights of stage 2 are 0"):
        recipe(
            {"epochs": 1, "loss": {"energy": 1}},
            stage,
            dens=False,
            **({"loss": none} if where == "train" else {}),
        )


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
