"""The published settings of a training as ours."""

from typing import Any

import pytest

from esen.models.convert.training import published_training
from esen.recipe.train import LossSpec, OptimizerSpec, ScheduleSpec


def config(**optim: Any) -> dict[str, Any]:
    """With the steps of an epoch, 50, already in what is called epochs, as the published trainer leaves it."""
    scheduler = {"warmup_epochs": 5.0, "warmup_factor": 0.3, "lr_min_factor": 0.05, "epochs": 4000.0}
    return {
        "optim": {
            "batch_size": 8,
            "lr_initial": 2e-4,
            "optimizer_params": {"weight_decay": 0.01},
            "clip_grad_norm": 50,
            "max_epochs": 80,
            "ema_decay": 0.99,
            "scheduler_params": scheduler,
        }
        | optim,
        "loss_functions": [
            {"energy": {"fn": "per_atom_mae", "coefficient": 10}},
            {"forces": {"fn": "l2norm", "coefficient": 30}},
            {"stress_isotropic": {"coefficient": 2}},
            {"stress_anisotropic": {"coefficient": 3}},
            {"denoising": {"coefficient": 9}},
        ],
    }


def test_each_setting_is_taken_over() -> None:
    train, note = published_training(config())
    assert note is None
    assert train.batch.structures == 8
    assert train.optimizer == OptimizerSpec(learning_rate=2e-4, weight_decay=0.01, clip_norm=50)
    assert train.schedule == ScheduleSpec(warmup_epochs=0.1, warmup_factor=0.3, final_factor=0.05)
    assert train.loss == LossSpec(energy=10, forces=30, stress=3)
    assert (train.ema, [stage.epochs for stage in train.stages]) == (0.99, [80])


def test_epochs_that_were_not_multiplied_stay() -> None:
    """A configuration as it was written by hand has no `epochs` in its schedule."""
    train, _ = published_training(config(scheduler_params={"warmup_epochs": 0.2}))
    assert train.schedule.warmup_epochs == 0.2


def test_what_is_not_said_has_our_defaults() -> None:
    train, note = published_training({})
    assert note is None
    assert (train.batch.structures, train.stages[0].epochs) == (512, 1)
    assert (train.optimizer, train.schedule) == (OptimizerSpec(), ScheduleSpec())
    assert train.loss == LossSpec()
    no_coefficient, _ = published_training({"loss_functions": [{"energy": {"fn": "mae"}}]})
    assert no_coefficient.loss == LossSpec(energy=1)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (config(lr_initial=-1.0), "greater than 0"),
        (config(batch_size="many"), "valid integer"),
        ({"optim": [1, 2]}, "has no attribute"),
        ({"loss_functions": [{"energy": {"coefficient": "large"}}]}, "could not convert"),
    ],
)
def test_settings_that_no_recipe_can_hold_are_told_of(settings: dict[str, Any], reason: str) -> None:
    train, note = published_training(settings)
    assert note is not None
    assert note.startswith("its training settings are not taken over, recipe.yaml has esen's defaults (")
    assert reason in note
    assert train.optimizer == OptimizerSpec()
    assert train.batch.structures == 512
