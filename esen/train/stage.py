"""One stage of training: epochs of steps, with validation and checkpoints."""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from esen.errors import InputError
from esen.models.checkpoint import save_checkpoint
from esen.recipe import Recipe
from esen.track import Tracker
from esen.train.dataset import Batches
from esen.train.interrupt import Interrupted, StopSignal
from esen.train.loss import training_loss
from esen.train.memory import must_fit
from esen.train.optim import learning_rate_factor, set_learning_rate
from esen.train.progress import TrainDisplay
from esen.train.record import Record, keep_run_id
from esen.train.state import TrainState
from esen.train.validate import validate


@dataclass(eq=False)
class Stage:
    """What a stage works with. `run` takes the state to the end of the stage.

    Attributes:
        recipe: of the run.
        state: changed in place.
        train: batches to fit.
        validation: batches to validate on.
        folder: of the run.
        record: its metrics.
        tracker: the same, elsewhere.
        display: progress on the terminal.
        stop: whether the user wants to stop.
    """

    recipe: Recipe
    state: TrainState
    train: Batches
    validation: Batches
    folder: Path
    record: Record
    tracker: Tracker
    display: TrainDisplay
    stop: StopSignal
    _counted: float = field(default=0.0, init=False)
    _saved: float = field(default=0.0, init=False)

    def run(self) -> None:
        """Do the epochs that are left of the state's stage.

        Raises:
            Interrupted: asked to stop; saved.
            InputError: the loss is no longer a number, or a batch does not fit in memory.
            OSError: nothing can be written.
        """
        progress, spec = self.state.progress, self.recipe.train
        epochs = spec.stages[progress.stage].epochs
        self._counted = self._saved = time.monotonic()
        self.state.potential.train()
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
        progress, spec = self.state.progress, self.recipe.train
        shuffle = sum(s.epochs for s in spec.stages[: progress.stage]) + progress.epoch
        batches = self.train.shuffled(spec.seed, shuffle)
        self.display.epoch(progress.stage, progress.epoch, epochs, len(batches), progress.batch)
        while progress.batch < len(batches):
            self._step(batches[progress.batch], epochs, len(batches))
            self._stop_if_asked()
            if time.monotonic() - self._saved > 60 * spec.checkpoint_minutes:
                self._save({})

    def _step(self, indices: list[int], epochs: int, batches: int) -> None:
        state, spec = self.state, self.recipe.train
        epoch = state.progress.epoch + state.progress.batch / batches
        rate = spec.optimizer.learning_rate * learning_rate_factor(spec.schedule, epoch, epochs)
        set_learning_rate(state.optimizer, rate)
        device = state.potential.scale.device
        graph, labels = self.train.load(indices)
        with must_fit(graph):
            graph, labels = graph.to(device), labels.to(device)
            scale = float(state.potential.scale)
            terms = training_loss(spec.loss, scale, state.potential(graph), labels, graph)
            state.optimizer.zero_grad()
            terms.total.backward()
            clipped = torch.nn.utils.clip_grad_norm_(state.potential.parameters(), spec.optimizer.clip_norm)
            norm, terms = float(clipped), terms.detach()
            self._check_step(float(terms.total), norm, indices)
            state.optimizer.step()
        if state.average is not None:
            state.average.update_parameters(state.potential)
        state.progress.step += 1
        state.progress.batch += 1
        metrics = {
            "train/loss": float(terms.total),
            "train/energy_loss": float(terms.energy),
            "train/forces_loss": float(terms.forces),
            "train/stress_loss": float(terms.stress),
            "train/learning_rate": rate,
            "train/gradient_norm": norm,
        }
        epoch += 1 / batches
        self.record.step({"step": state.progress.step, "epoch": round(epoch, 6)} | metrics)
        self.tracker.metrics(metrics | {"epoch": epoch}, state.progress.step)
        self.display.step(len(indices), metrics["train/loss"])

    def _check_step(self, loss: float, norm: float, indices: list[int]) -> None:
        if math.isfinite(loss) and math.isfinite(norm):
            return
        some = [self.train.structures[i].source or f"frame {i}" for i in indices[:2]]
        where = ", ".join(some) + (", …" if len(indices) > 2 else "")
        step = self.state.progress.step + 1
        raise self._diverged(f"the loss became {loss} (gradient {norm:.3g}) at step {step}, on {where}")

    def _diverged(self, what: str) -> InputError:
        rate = self.recipe.train.optimizer.learning_rate
        saved = (self.folder / "last.safetensors").exists()
        return InputError(
            f"{what}: lower train.optimizer.learning_rate ({rate:g} here) or clip_norm"
            + ("; the last checkpoint was saved before and is kept" if saved else "")
        )

    def _validate(self, epoch: int) -> dict[str, float]:
        state = self.state
        self.display.validating()
        loss = self.recipe.train.loss
        errors = validate(state.evaluated(), self.validation, loss, between=self._stop_if_asked)
        if not math.isfinite(errors["loss"]):
            raise self._diverged(f"the validation loss became {errors['loss']} at step {state.progress.step}")
        metrics = {f"validation/{key}": value for key, value in errors.items()}
        self.record.validation({"step": state.progress.step, "epoch": float(epoch)} | metrics)
        self.tracker.metrics(metrics, state.progress.step)
        is_best = errors["loss"] < state.progress.best
        self.display.validation(epoch, errors, is_best)
        if is_best:
            state.progress.best = errors["loss"]
            save_checkpoint(self.folder / "best.safetensors", state.best_checkpoint(self.recipe, metrics))
        return metrics

    def _stop_if_asked(self, *, saved: bool = False) -> None:
        if not self.stop.raised:
            return
        if not saved:
            self._save({})
        raise Interrupted(f"interrupted at step {self.state.progress.step}, all is saved")

    def _save(self, metrics: dict[str, float]) -> None:
        progress, now = self.state.progress, time.monotonic()
        progress.seconds += now - self._counted
        self._counted = now
        save_checkpoint(self.folder / "last.safetensors", self.state.full_checkpoint(self.recipe, metrics))
        keep_run_id(self.folder, self.tracker.run_id)
        self._saved = time.monotonic()
