"""The recipe: the whole of a study in one document."""

from typing import Self

from pydantic import model_validator

from esen.recipe.base import Spec
from esen.recipe.data import DataSpec
from esen.recipe.model import DirectSpec, ModelSpec, NoStressSpec
from esen.recipe.train import TrainSpec


class MaeSpec(Spec):
    """Errors on `data.test` after training."""


class EvaluateSpec(Spec):
    """Which tests follow the training."""

    mae: MaeSpec | None = MaeSpec()


class TrackingSpec(Spec):
    """Where MLflow keeps the run. `uri: null` means $MLFLOW_TRACKING_URI, else sqlite:///mlflow.db."""

    enabled: bool = True
    uri: str | None = None
    experiment: str = "esen"


class Recipe(Spec):
    """Model, data, training, evaluation, tracking."""

    model: ModelSpec = ModelSpec()
    data: DataSpec
    train: TrainSpec
    evaluate: EvaluateSpec = EvaluateSpec()
    tracking: TrackingSpec = TrackingSpec()

    @model_validator(mode="after")
    def _stress_is_predicted(self) -> Self:
        forces = self.model.forces
        none = isinstance(forces, DirectSpec) and isinstance(forces.stress, NoStressSpec)
        if none and self.train.loss.stress:
            raise ValueError(
                f"model.forces.stress.kind is none, so train.loss.stress must be 0, not {self.train.loss.stress:g}"
            )
        return self
