"""The state of a training between two steps, and how it is saved and restored."""

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from esen.errors import InputError
from esen.models.checkpoint import Checkpoint, with_prefix
from esen.models.potential import EsenPotential
from esen.recipe import Recipe
from esen.train.optim import freeze, make_average, make_optimizer


@dataclass
class Progress:
    """How far a training has come.

    Attributes:
        stage: Index of the stage.
        epoch: Number of whole epochs of the stage that are done.
        batch: Number of batches of the next epoch that are done.
        step: Optimiser steps in all stages.
        best: Lowest validation loss of the stage; None if there was no validation.
        seconds: Time spent, in earlier processes too.
        data: Fingerprint of the frames.
    """

    stage: int = 0
    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float | None = None
    seconds: float = 0.0
    data: str = ""


@dataclass(eq=False)
class TrainState:
    """Weights, their average, the optimiser, and the progress.

    Attributes:
        potential: The potential as it is trained, of the kind that this stage needs.
        average: Its moving average, None if the recipe has none.
        optimizer: Optimiser of this stage.
        progress: How far the training has come.
        origin: Where the weights that it began with came from, and their licence.
    """

    potential: EsenPotential
    average: AveragedModel | None
    optimizer: torch.optim.AdamW
    progress: Progress = field(default_factory=Progress)
    origin: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def begin(cls, potential: EsenPotential, recipe: Recipe) -> "TrainState":
        """Return the state at the first step of a stage; the recipe is that of the stage."""
        freeze(potential, recipe.train.freeze)
        average = make_average(potential, recipe.train.ema) if recipe.train.ema else None
        return cls(potential, average, make_optimizer(potential, recipe.train.optimizer))

    def next_stage(self, potential: EsenPotential, recipe: Recipe) -> "TrainState":
        """Return the state at the first step of the next stage; only step count, time and origin are kept.

        Args:
            potential: Potential with the weights to begin with.
            recipe: The recipe as it holds in that stage.
        """
        begun = TrainState.begin(potential, recipe)
        begun.origin = self.origin
        begun.progress = replace(self.progress, stage=self.progress.stage + 1, epoch=0, batch=0, best=None)
        return begun

    def evaluated(self) -> EsenPotential:
        """Return the potential that is validated and saved as the best: the average, where there is one."""
        if self.average is None:
            return self.potential
        averaged = self.average.module
        assert isinstance(averaged, EsenPotential)
        return averaged

    def best_checkpoint(self, recipe: Recipe, metrics: dict[str, float]) -> Checkpoint:
        """Return a checkpoint with everything needed to predict."""
        tensors = with_prefix("weights", self.evaluated().state_dict())
        return self._checkpoint(recipe, metrics, tensors, {})

    def full_checkpoint(self, recipe: Recipe, metrics: dict[str, float]) -> Checkpoint:
        """Return a checkpoint to resume from. Its `model` is that of the stage; `progress` holds that of the run."""
        tensors = with_prefix("weights", self.potential.state_dict())
        if self.average is not None:
            tensors |= with_prefix("average", self.average.module.state_dict())
        for name, parameter in self.potential.named_parameters():
            moments = self.optimizer.state.get(parameter, {})
            tensors |= with_prefix(f"optimizer/{name}", moments)
        progress = asdict(self.progress) | {
            "model": recipe.model.model_dump(mode="json"),
            "averaged": 0 if self.average is None else int(self.average.n_averaged),
        }
        return self._checkpoint(recipe, metrics, tensors, progress)

    def _checkpoint(
        self, recipe: Recipe, metrics: dict[str, float], tensors: dict[str, Tensor], progress: dict[str, Any]
    ) -> Checkpoint:
        of_stage = {"model": self.potential.spec.model_dump(mode="json")}
        return Checkpoint(
            recipe=recipe.model_dump(mode="json") | of_stage,
            elements=self.potential.elements or (),
            metrics=metrics,
            tensors=tensors,
            progress=progress,
            origin=self.origin,
        )

    def restore(self, checkpoint: Checkpoint, where: str) -> None:
        """Take over the content of a full checkpoint.

        Raises:
            InputError: It holds a network of another shape; `where` names the file.
        """
        saved = checkpoint.progress
        weights, average = checkpoint.part("weights"), checkpoint.part("average")
        try:
            self.potential.load_state_dict(weights)
            if self.average is not None:  # a run that had none begins it at the weights
                self.average.module.load_state_dict(average or weights)
                self.average.n_averaged.fill_(saved["averaged"])
        except RuntimeError as error:
            raise InputError(
                f"{where}: belongs to a model of another shape than the recipe's; resume with the recipe of that run"
            ) from error
        for name, parameter in self.potential.named_parameters():
            moments = checkpoint.part(f"optimizer/{name}")
            if moments:
                self.optimizer.state[parameter] = {
                    key: value.clone() if key == "step" else value.to(parameter, copy=True)
                    for key, value in moments.items()
                }
        self.origin = checkpoint.origin
        for potential in (self.potential, self.evaluated()):
            potential.elements = checkpoint.elements or None
        self.progress = Progress(**{f.name: saved[f.name] for f in fields(Progress) if f.name in saved})
