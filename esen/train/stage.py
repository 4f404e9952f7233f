"""One stage of training: epochs of steps, with validation and checkpoints."""

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from esen.errors import InputError
from esen.files import Interrupted, StopSignal
from esen.models.checkpoint import save_checkpoint
from esen.models.potential import EsenPotential
from esen.recipe import BatchSpec, Recipe, at_stage
from esen.threads import SharedCores
from esen.track import Tracker
from esen.train.batches import Batches, prefetched
from esen.train.dens import denoising_draws
from esen.train.distributed import ALONE, LostProcessError, Processes
from esen.train.memory import must_fit
from esen.train.optim import learning_rate_factor
from esen.train.progress import TrainDisplay
from esen.train.run_files import LAST, Metrics, best_path, keep_tracking
from esen.train.state import TrainState
from esen.train.step import MicroBatch, Objective
from esen.train.validate import validate

_OF_STEPS, _OF_VALIDATION = 1, 2
"""Parts of the seed of random edge frames."""


@dataclass(eq=False)
class Stage:
    """A stage and everything it works with. `run` takes the state to the end of the stage.

    Attributes:
        recipe: Recipe of the run.
        state: Is changed in place; its progress says which stage this is.
        train: Frames to fit.
        validation: Frames to validate on.
        folder: Folder of the run.
        metrics: Files of the metrics.
        trackers: The tracked run, and that of the stage where there are several.
        display: Progress on the terminal.
        stop: Says whether the user wants to stop.
        processes: The processes that share the work; the first one writes.
        cores: Adapts the number of threads between steps; None on a GPU.
    """

    recipe: Recipe
    state: TrainState
    train: Batches
    validation: Batches
    folder: Path
    metrics: Metrics
    trackers: tuple[Tracker, ...]
    display: TrainDisplay
    stop: StopSignal
    processes: Processes = ALONE
    cores: SharedCores | None = None

    def __post_init__(self) -> None:
        stage = self.state.progress.stage
        spec = self._spec = at_stage(self.recipe, stage).train
        self._epochs = spec.stages[stage].epochs
        self._epochs_before = sum(earlier.epochs for earlier in spec.stages[:stage])
        atoms, weights = spec.micro_batch_atoms, self.train.structures.facts.weights
        self._objective = Objective(
            spec.loss,
            spec.stages[stage].dens,
            atoms,
            None if (weights == 1).all() else weights,
            self.processes,
        )
        self.train.spec = spec.batch
        self.validation.spec = (
            spec.batch if atoms is None else BatchSpec(atoms=atoms)
        )  # as small as the parts
        self.state.potential.use_compilation(spec.compile)
        self._adapts = None if spec.compile else self.cores  # another number would compile the step again
        self._counted = self._saved = time.monotonic()

    def run(self) -> None:
        """Train for the epochs that are left of the stage.

        Raises:
            Interrupted: The user asked to stop; the state is saved.
            InputError: The loss is no longer finite, a batch does not fit in memory, or another process ended; then
                the first process has saved what was done.
            OSError: Nothing can be written.
        """
        progress = self.state.progress
        try:
            self.state.potential.train()
            if self._spec.init_from is not None and progress.step == progress.stage == 0:
                self._save(self._validate(0))  # the weights at the start are the first to be improved on
            while progress.epoch < self._epochs:
                self._epoch()
                number = progress.epoch + 1
                due = number == self._epochs or number % self._spec.validate_every_epochs == 0
                metrics = self._validate(number) if due else {}
                progress.epoch, progress.batch = number, 0
                self._save(metrics)
                self._stop_if_asked(saved=True)
        except LostProcessError as error:
            self._save({})
            what = f"everything up to step {progress.step} is saved"
            if not self.processes.is_first:
                what = "this process saves nothing, the last checkpoint is that of the first process"
            raise InputError(f"{error}; {what}; resume with --resume") from error

    def _epoch(self) -> None:
        """Make the steps that are left of the epoch."""
        progress = self.state.progress
        batches = self.train.shuffled(self._spec.seed, self._epochs_before + progress.epoch)
        self.display.epoch(progress.stage, progress.epoch, self._epochs, len(batches), progress.batch)
        left = list(enumerate(batches))[progress.batch :]
        with prefetched(self._ready, left, self._spec.prefetch) as made:
            for indices, parts in made:
                self._step(indices, parts, len(batches))
                if self._adapts is not None:
                    self._adapts.update()
                self._stop_if_asked()
                if time.monotonic() - self._saved > 60 * self._spec.checkpoint_minutes:
                    self._save({})

    def _ready(self, numbered: tuple[int, list[int]]) -> tuple[list[int], list[MicroBatch]]:
        """Return the frames of a batch of this epoch, and the parts of it that this process computes."""
        number, indices = numbered
        epoch = self._epochs_before + self.state.progress.epoch
        random = denoising_draws(self._objective.dens, seed=self._spec.seed, epoch=epoch, batch=number)
        parts = self._objective.parts(self.train, indices, random)
        return indices, [part.ready_for(self.state.potential.scale.device) for part in parts]

    def _step(self, indices: list[int], parts: list[MicroBatch], batches: int) -> None:
        state, progress, spec = self.state, self.state.progress, self._spec
        epoch = progress.epoch + progress.batch / batches
        rate = spec.optimizer.learning_rate * learning_rate_factor(spec.schedule, epoch, self._epochs)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        state.optimizer.zero_grad()
        self._seed_frames(state.potential, _OF_STEPS, progress.epoch, progress.batch)
        terms = self._objective.add_gradient(state.potential, parts)
        clipped = torch.nn.utils.clip_grad_norm_(state.potential.parameters(), spec.optimizer.clip_norm)
        loss, norm = float(terms.total), float(clipped)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            some = [self.train.structures[i].source or f"frame {i}" for i in indices[:2]]
            where = ", ".join(some) + (", …" if len(indices) > 2 else "")
            raise self._diverged(
                f"the loss became {loss} (gradient {norm:.3g}) at step {progress.step + 1}, on {where}"
            )
        # a process may have no part of a small batch
        with must_fit(parts[0].graph) if parts else nullcontext():
            state.optimizer.step()
        if state.average is not None:
            state.average.update_parameters(state.potential)
        progress.step += 1
        progress.batch += 1
        metrics = {"train/loss": loss, "train/learning_rate": rate, "train/gradient_norm": norm}
        for name, value in terms.named().items():
            if value and math.isfinite(
                value
            ):  # zero without a label; NaN of weight 0 where nothing is predicted
                metrics[f"train/{name}_loss"] = value
        epoch += 1 / batches
        self.metrics.step({"step": progress.step, "epoch": round(epoch, 6)} | metrics)
        self._track(metrics | {"epoch": epoch})
        self.display.step(len(indices), loss)

    def _seed_frames(self, potential: EsenPotential, purpose: int, epoch: int, *place: int) -> None:
        """Seed random edge frames by the place in the training, so that a resumed run draws the same ones.

        Every process draws its own.
        """
        potential.seed_frames(
            self._spec.seed, purpose, self._epochs_before + epoch, *place, self.processes.rank
        )

    def _track(self, metrics: dict[str, float]) -> None:
        for tracker in self.trackers:
            tracker.metrics(metrics, self.state.progress.step)

    def _diverged(self, what: str) -> InputError:
        kept = (self.folder / LAST).exists()
        return InputError(
            f"{what}: lower train.optimizer.learning_rate ({self._spec.optimizer.learning_rate:g} here) or clip_norm"
            + ("; the last checkpoint was saved before and is kept" if kept else "")
        )

    def _validate(self, epoch: int) -> dict[str, float]:
        """Validate, keep the weights if they are the best so far, and return the metrics."""
        state, progress = self.state, self.state.progress
        self.display.validating()
        self._seed_frames(state.evaluated(), _OF_VALIDATION, epoch)
        errors = validate(
            state.evaluated(),
            self.validation,
            self._spec.loss,
            between=self._stop_if_asked,
            processes=self.processes,
            prefetch=self._spec.prefetch,
        )
        if not math.isfinite(errors["loss"]):
            raise self._diverged(f"the validation loss became {errors['loss']} at step {progress.step}")
        metrics = {f"validation/{key}": value for key, value in errors.items()}
        self.metrics.validation({"step": progress.step, "epoch": float(epoch)} | metrics)
        self._track(metrics)
        is_best = progress.best is None or errors["loss"] < progress.best
        self.display.validation(epoch, errors, is_best)
        if is_best:
            progress.best = errors["loss"]
            if self.processes.is_first:
                best = best_path(self.folder, self.recipe, progress.stage)
                save_checkpoint(best, state.best_checkpoint(self.recipe, metrics))
        return metrics

    def _stop_if_asked(self, *, saved: bool = False) -> None:
        if not self.processes.any(self.stop.raised):
            return
        if not saved:
            self._save({})
        raise Interrupted(f"interrupted at step {self.state.progress.step}, all is saved")

    def _save(self, metrics: dict[str, float]) -> None:
        """Count the time, and let the first process write the checkpoint and the names of the tracked runs."""
        progress, now = self.state.progress, time.monotonic()
        progress.seconds += now - self._counted
        self._counted = now
        if not self.processes.is_first:
            return
        save_checkpoint(self.folder / LAST, self.state.full_checkpoint(self.recipe, metrics))
        run, *stage = self.trackers
        keep_tracking(self.folder, run.run_id)
        for tracker in stage:
            keep_tracking(self.folder, tracker.run_id, stage=progress.stage)
        self._saved = time.monotonic()
