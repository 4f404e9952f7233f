"""The recipe: the whole of a study in one document."""

from esen.recipe.base import Spec
from esen.recipe.data import DataSpec
from esen.recipe.model import ModelSpec
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
