"""The recipe: the whole of a study in one document."""

from typing import Self

from pydantic import FieldSerializationInfo, ValidationError, field_serializer, model_validator

from esen.recipe.base import Spec
from esen.recipe.data import DataSpec
from esen.recipe.model import DirectSpec, ModelSpec, NoStressSpec, RandomFrameSpec
from esen.recipe.train import TrainSpec, stage_model
from esen.text import without_secrets

WHOLE = {"secrets": True}
"""Context of `model_dump` with which a password is kept."""


class MaeSpec(Spec):
    """Errors on `data.test` after training."""


class EvaluateSpec(Spec):
    """Which tests follow the training."""

    mae: MaeSpec | None = MaeSpec()
    """Errors on `data.test`; null: none."""


class TrackingSpec(Spec):
    """Where MLflow keeps the run."""

    enabled: bool = True
    """Whether the run is tracked."""
    uri: str | None = None
    """MLflow tracking URI; null: $MLFLOW_TRACKING_URI, or else sqlite:///mlflow.db. A password is not saved."""
    experiment: str = "esen"
    """MLflow experiment."""

    @field_serializer("uri")
    def _without_secrets(self, uri: str | None, info: FieldSerializationInfo) -> str | None:
        """What is saved, shown or sent of a recipe has no password; a recipe that extends it gets it all the same."""
        return uri if uri is None or info.context == WHOLE else without_secrets(uri)


class Recipe(Spec):
    """Model, data, training, evaluation, tracking."""

    model: ModelSpec = ModelSpec()
    """The network."""
    data: DataSpec
    """Frames and their labels."""
    train: TrainSpec
    """The optimisation."""
    evaluate: EvaluateSpec = EvaluateSpec()
    """Tests after the training."""
    tracking: TrackingSpec = TrackingSpec()
    """The record of the run in MLflow."""

    @model_validator(mode="after")
    def _compiled_without_random_frames(self) -> Self:
        if self.train.compile and isinstance(self.model.edge_frame, RandomFrameSpec):
            raise ValueError(
                "train.compile: true does not go with model.edge_frame: {kind: random}, since a compiled network"
                " would always draw the same frames; write train.compile: false"
            )
        return self

    @model_validator(mode="after")
    def _stages_have_a_network(self) -> Self:
        for index, stage in enumerate(self.train.stages):
            where = f"train.stages[{index}]"
            model = stage_model(self.model, stage)
            if stage.forces is not None or stage.dens is not None:
                try:
                    ModelSpec.model_validate(model.model_dump())
                except ValidationError as error:
                    raise ValueError(f"{where}: {error.errors()[0]['ctx']['error']}") from None
            none = isinstance(model.forces, DirectSpec) and isinstance(model.forces.stress, NoStressSpec)
            loss, own = stage.loss or self.train.loss, stage.forces is not None
            if none and loss.stress:
                key = f"{where}.loss.stress" if own else "train.loss.stress"
                raise ValueError(
                    f"{where if own else 'model'}.forces.stress.kind is none, so {key} must be 0, not {loss.stress:g}"
                )
        return self
