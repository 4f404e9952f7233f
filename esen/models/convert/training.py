"""The published settings of a training, as far as our recipes have a word for them."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from esen.recipe.train import TrainSpec


def published_training(config: Mapping[str, Any]) -> tuple[TrainSpec, str | None]:
    """The `train:` of a recipe from a published configuration; what it does not say has our defaults.

    The second value says so, where the settings are not such as a recipe can hold, and all are our defaults.

    `batch_size` counts the structures of one process there; how many processes there were is not in the file.
    """
    try:
        return TrainSpec.model_validate(_settings(config)), None
    except (ValidationError, AttributeError, TypeError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        note = f"its training settings are not taken over, recipe.yaml has esen's defaults ({reason})"
        return TrainSpec.model_validate({"stages": [{"epochs": 1}]}), note


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    optim = config.get("optim") or {}
    schedule = dict(optim.get("scheduler_params") or {})
    steps = schedule.get("epochs", 0) / (optim.get("max_epochs") or 1)
    if (
        steps and "warmup_epochs" in schedule
    ):  # whatever is called epochs there was multiplied by the steps of one
        schedule["warmup_epochs"] /= steps
    return {
        "batch": {"structures": optim.get("batch_size", 512)},
        "optimizer": _known(
            learning_rate=optim.get("lr_initial"),
            weight_decay=(optim.get("optimizer_params") or {}).get("weight_decay"),
            clip_norm=optim.get("clip_grad_norm"),
        ),
        "schedule": _known(
            warmup_epochs=schedule.get("warmup_epochs"),
            warmup_factor=schedule.get("warmup_factor"),
            final_factor=schedule.get("lr_min_factor"),
        ),
        "loss": _loss(config.get("loss_functions") or ()),
        "stages": [{"epochs": optim.get("max_epochs", 1)}],
    } | _known(ema=optim.get("ema_decay"))


def _loss(functions: Any) -> dict[str, float]:
    """Weights of the terms. A stress in two parts has the weight of the larger."""
    weights: dict[str, float] = {}
    for terms in functions:
        for target, settings in terms.items():
            name = "stress" if target.startswith("stress") else target
            if name in ("energy", "forces", "stress"):
                weights[name] = max(weights.get(name, 0.0), float(settings.get("coefficient", 1.0)))
    return weights


def _known(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
