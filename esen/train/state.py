"""Everything a training carries from step to step, and its way to a file and back."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from esen.errors import InputError
from esen.models.checkpoint import Checkpoint, with_prefix
from esen.models.potential import EsenPotential
from esen.recipe import Recipe
from esen.train.optim import make_average, make_optimizer


@dataclass
class Progress:
    """Where a training stands.

    Attributes:
        stage: index of the stage.
        epoch: of the stage, whole ones done.
        batch: batches of the next epoch that are done.
        step: optimiser steps in all.
        best: lowest validation loss.
        seconds: spent in earlier processes and this one.
        data: fingerprint of the frames.
    """

    stage: int = 0
    epoch: int = 0
    batch: int = 0
    step: int = 0
    best: float = float("inf")
    seconds: float = 0.0
    data: str = ""


@dataclass(eq=False)
class TrainState:
    """Weights, their average, the optimiser, and the progress.

    Attributes:
        potential: as it is trained.
        average: its moving average, None if the recipe has none.
        optimizer: of this stage.
        progress: where it stands.
    """

    potential: EsenPotential
    average: AveragedModel | None
    optimizer: torch.optim.AdamW
    progress: Progress = field(default_factory=Progress)

    @classmethod
    def begin(cls, potential: EsenPotential, recipe: Recipe) -> "TrainState":
        """At step 0."""
        average = make_average(potential, recipe.train.ema) if recipe.train.ema else None
        return cls(potential, average, make_optimizer(potential, recipe.train.optimizer))

    def next_stage(self, stage: int, recipe: Recipe) -> None:
        """Keep the weights and their average; optimiser and schedule begin afresh."""
        self.optimizer = make_optimizer(self.potential, recipe.train.optimizer)
        self.progress.stage, self.progress.epoch, self.progress.batch = stage, 0, 0

    def evaluated(self) -> EsenPotential:
        """The potential that is validated and saved as the best: the average, where there is one."""
        if self.average is None:
            return self.potential
        averaged = self.average.module
        assert isinstance(averaged, EsenPotential)
        return averaged

    def best_checkpoint(self, recipe: Recipe, metrics: dict[str, float]) -> Checkpoint:
        """What is needed to predict."""
        tensors = with_prefix("weights", self.evaluated().state_dict())
        return self._checkpoint(recipe, metrics, tensors, {})

    def full_checkpoint(self, recipe: Recipe, metrics: dict[str, float]) -> Checkpoint:
        """What is needed to go on."""
        tensors = with_prefix("weights", self.potential.state_dict())
        if self.average is not None:
            tensors |= with_prefix("average", self.average.module.state_dict())
        for name, parameter in self.potential.named_parameters():
            moments = self.optimizer.state.get(parameter, {})
            tensors |= with_prefix(f"optimizer/{name}", moments)
        progress = asdict(self.progress)
        progress["best"] = self.progress.best if self.progress.best < float("inf") else None
        progress["averaged"] = int(self.average.n_averaged) if self.average is not None else 0
        return self._checkpoint(recipe, metrics, tensors, progress)

    def _checkpoint(
        self, recipe: Recipe, metrics: dict[str, float], tensors: dict[str, Tensor], progress: dict[str, Any]
    ) -> Checkpoint:
        return Checkpoint(
            recipe=recipe.model_dump(mode="json"),
            elements=self.potential.elements or (),
            metrics=metrics,
            tensors=tensors,
            progress=progress,
        )

    def restore(self, checkpoint: Checkpoint, where: str) -> None:
        """Go on from a full checkpoint.

        Raises:
            InputError: it holds no progress, or a network of another shape; `where` names the file.
        """
        saved = dict(checkpoint.progress)
        if not saved:
            raise InputError(
                f"{where}: holds weights but no state of training, so nothing can be resumed from it"
            )
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
        saved["best"] = float("inf") if saved["best"] is None else saved["best"]
        self.progress = Progress(**{f.name: saved[f.name] for f in fields(Progress) if f.name in saved})
