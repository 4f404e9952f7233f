"""One stage of training: epochs of steps, with validation and checkpoints."""

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from esen.errors import InputError
from esen.files import Interrupted, StopSignal
from esen.models.checkpoint import save_checkpoint
from esen.recipe import Recipe, at_stage
from esen.track import Tracker
from esen.train.best import best_path
from esen.train.dataset import Batches
from esen.train.dens import denoising_draws
from esen.train.distributed import ALONE, LostProcessError, Team
from esen.train.loss import LossTerms
from esen.train.memory import must_fit
from esen.train.optim import learning_rate_factor, set_learning_rate
from esen.train.prefetch import prefetched
from esen.train.progress import TrainDisplay
from esen.train.record import Record, keep_run_id
from esen.train.state import TrainState
from esen.train.step import Objective, Part
from esen.train.validate import validate


@dataclass(frozen=True, eq=False)
class _Batch:
    """What a step needs of a batch.

    Attributes:
        indices: of its frames.
        parts: this process's of them.
        denoising: whether the atoms are displaced.
    """

    indices: list[int]
    parts: list[Part]
    denoising: bool


@dataclass(eq=False)
class Stage:
    """What a stage works with. `run` takes the state to the end of the stage.

    Attributes:
        recipe: of the run.
        state: changed in place; it says which stage this is.
        train: batches to fit.
        validation: batches to validate on.
        weights: factor on the loss of each frame to fit; None: 1.
        folder: of the run.
        record: its metrics.
        trackers: the same, elsewhere: of the run, and of the stage where there are several.
        display: progress on the terminal.
        stop: whether the user wants to stop.
        team: the processes that share the work; the first one writes.
    """

    recipe: Recipe
    state: TrainState
    train: Batches
    validation: Batches
    weights: np.ndarray | None
    folder: Path
    record: Record
    trackers: tuple[Tracker, ...]
    display: TrainDisplay
    stop: StopSignal
    team: Team = ALONE
    _here: Recipe = field(init=False)
    _objective: Objective = field(init=False)
    _counted: float = field(default=0.0, init=False)
    _saved: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        stage = self.state.progress.stage
        self._here = at_stage(self.recipe, stage)
        spec = self._here.train
        dens = self.recipe.train.stages[stage].dens
        self._objective = Objective(spec.loss, dens, spec.micro_batch_atoms, self.weights, self.team)
        self.state.potential.use_compilation(spec.compile)

    def run(self) -> None:
        """Do the epochs that are left of the state's stage.

        Raises:
            Interrupted: asked to stop; saved.
            InputError: the loss is no longer a number, a batch does not fit in memory, or one of the processes that
                share the work is gone; then what the others had is saved.
            OSError: nothing can be written.
        """
        try:
            self._epochs()
        except LostProcessError as error:
            self._save({})
            step = self.state.progress.step
            raise InputError(
                f"one of {self.team.size} processes is gone; all up to step {step} is saved, go on with --resume"
            ) from error

    def _epochs(self) -> None:
        progress, spec = self.state.progress, self.recipe.train
        epochs = spec.stages[progress.stage].epochs
        self._counted = self._saved = time.monotonic()
        self.state.potential.train()
        if self.recipe.train.init_from is not None and progress.step == progress.stage == 0:
            self._save(self._validate(0))  # the weights that it starts from are the first to be beaten
        while progress.epoch < epochs:
            self._epoch(epochs)
            number = progress.epoch + 1
            due = number == epochs or number % spec.validate_every_epochs == 0
            metrics = self._validate(number) if due else {}
            progress.epoch, progress.batch = number, 0
            self._save(metrics)
            self._stop_if_asked(saved=True)

    def _epoch(self, epochs: int) -> None:
        """The batches that are left of the epoch."""
        progress = self.state.progress
        batches = self.train.shuffled(self.recipe.train.seed, self._epochs_before())
        self.display.epoch(progress.stage, progress.epoch, epochs, len(batches), progress.batch)
        left = list(enumerate(batches))[progress.batch :]
        with prefetched(self._ready, left, self.recipe.train.prefetch) as made:
            for batch in made:
                self._step(batch, epochs, len(batches))
                self._stop_if_asked()
                if time.monotonic() - self._saved > 60 * self.recipe.train.checkpoint_minutes:
                    self._save({})

    def _ready(self, numbered: tuple[int, list[int]]) -> _Batch:
        """A batch of this epoch, from its number and its frames alone."""
        number, indices = numbered
        seed, epoch, device = self.recipe.train.seed, self._epochs_before(), self.state.potential.scale.device
        random = denoising_draws(self._objective.dens, seed=seed, epoch=epoch, batch=number)
        parts = self._objective.parts(self.train, indices, random)
        return _Batch(indices, [part.ready_for(device) for part in parts], random is not None)

    def _epochs_before(self) -> int:
        """Whole epochs of the run before this one: what its draws follow from, with the seed."""
        progress = self.state.progress
        return sum(s.epochs for s in self.recipe.train.stages[: progress.stage]) + progress.epoch

    def _step(self, batch: _Batch, epochs: int, batches: int) -> None:
        state, spec = self.state, self._here.train
        progress = state.progress
        epoch = progress.epoch + progress.batch / batches
        rate = spec.optimizer.learning_rate * learning_rate_factor(spec.schedule, epoch, epochs)
        set_learning_rate(state.optimizer, rate)
        state.optimizer.zero_grad()
        terms = self._objective.add_gradient(state.potential, batch.parts)
        clipped = torch.nn.utils.clip_grad_norm_(state.potential.parameters(), spec.optimizer.clip_norm)
        loss, norm = float(terms.total), float(clipped)
        self._check_step(loss, norm, batch.indices)
        with (
            must_fit(batch.parts[0].graph) if batch.parts else nullcontext()
        ):  # a process may have nothing of a small batch
            state.optimizer.step()
        if state.average is not None:
            state.average.update_parameters(state.potential)
        progress.step += 1
        progress.batch += 1
        metrics = self._metrics(terms, denoising=batch.denoising)
        metrics |= {"train/learning_rate": rate, "train/gradient_norm": norm}
        epoch += 1 / batches
        self.record.step({"step": progress.step, "epoch": round(epoch, 6)} | metrics)
        self._track(metrics | {"epoch": epoch})
        self.display.step(len(batch.indices), loss)

    def _metrics(self, terms: LossTerms, *, denoising: bool) -> dict[str, float]:
        """The terms of the loss that this batch was asked for."""
        metrics = {"train/loss": float(terms.total)}
        if denoising:
            metrics["train/denoising_loss"] = float(terms.denoising)
            known = {"energy": terms.energy, "forces": terms.forces}
            return metrics | {f"train/{key}_loss": float(term) for key, term in known.items() if float(term)}
        known = {"energy": terms.energy, "forces": terms.forces, "stress": terms.stress}
        return metrics | {f"train/{key}_loss": float(term) for key, term in known.items()}

    def _track(self, metrics: dict[str, float]) -> None:
        for tracker in self.trackers:
            tracker.metrics(metrics, self.state.progress.step)

    def _check_step(self, loss: float, norm: float, indices: list[int]) -> None:
        if math.isfinite(loss) and math.isfinite(norm):
            return
        some = [self.train.structures[i].source or f"frame {i}" for i in indices[:2]]
        where = ", ".join(some) + (", …" if len(indices) > 2 else "")
        step = self.state.progress.step + 1
        raise self._diverged(f"the loss became {loss} (gradient {norm:.3g}) at step {step}, on {where}")

    def _diverged(self, what: str) -> InputError:
        rate = self._here.train.optimizer.learning_rate
        saved = (self.folder / "last.safetensors").exists()
        return InputError(
            f"{what}: lower train.optimizer.learning_rate ({rate:g} here) or clip_norm"
            + ("; the last checkpoint was saved before and is kept" if saved else "")
        )

    def _validate(self, epoch: int) -> dict[str, float]:
        state = self.state
        self.display.validating()
        loss = self._here.train.loss
        errors = validate(
            state.evaluated(),
            self.validation,
            loss,
            between=self._stop_if_asked,
            team=self.team,
            prefetch=self.recipe.train.prefetch,
        )
        if not math.isfinite(errors["loss"]):
            raise self._diverged(f"the validation loss became {errors['loss']} at step {state.progress.step}")
        metrics = {f"validation/{key}": value for key, value in errors.items()}
        self.record.validation({"step": state.progress.step, "epoch": float(epoch)} | metrics)
        self._track(metrics)
        is_best = errors["loss"] < state.progress.best
        self.display.validation(epoch, errors, is_best)
        if is_best:
            state.progress.best = errors["loss"]
            if self.team.is_first:
                best = best_path(self.folder, self.recipe, state.progress.stage)
                save_checkpoint(best, state.best_checkpoint(self.recipe, metrics))
        return metrics

    def _stop_if_asked(self, *, saved: bool = False) -> None:
        if not self.team.any(self.stop.raised):
            return
        if not saved:
            self._save({})
        raise Interrupted(f"interrupted at step {self.state.progress.step}, all is saved")

    def _save(self, metrics: dict[str, float]) -> None:
        progress, now = self.state.progress, time.monotonic()
        progress.seconds += now - self._counted
        self._counted = now
        if not self.team.is_first:
            return
        save_checkpoint(self.folder / "last.safetensors", self.state.full_checkpoint(self.recipe, metrics))
        run, *stage = self.trackers
        keep_run_id(self.folder, run.run_id)
        for tracker in stage:
            keep_run_id(self.folder, tracker.run_id, stage=progress.stage)
        self._saved = time.monotonic()
