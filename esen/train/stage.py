"""One stage of training: epochs of steps, with validation and checkpoints."""

import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from esen.errors import InputError
from esen.models.checkpoint import save_checkpoint
from esen.recipe import Recipe
from esen.track import Tracker
from esen.train.dataset import Batches
from esen.train.interrupt import Interrupted, StopSignal
from esen.train.loss import training_loss
from esen.train.optim import learning_rate_factor, set_learning_rate
from esen.train.progress import TrainDisplay
from esen.train.record import Record
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

    def run(self) -> None:
        """Do the epochs that are left of the state's stage.

        Raises:
            Interrupted: asked to stop; saved.
            InputError: the loss is no longer a number, or a batch does not fit in memory.
            OSError: nothing can be written.
        """
        progress, spec = self.state.progress, self.recipe.train
        epochs = spec.stages[progress.stage].epochs
        self._clock = self._saved = time.monotonic()
        self.state.potential.train()
        while progress.epoch < epochs:
            seed_epoch = sum(s.epochs for s in spec.stages[: progress.stage]) + progress.epoch
            batches = self.train.shuffled(spec.seed, seed_epoch)
            self.display.epoch(progress.stage, progress.epoch, epochs, len(batches), progress.batch)
            while progress.batch < len(batches):
                self._step(batches[progress.batch], epochs, len(batches))
                if self.stop.raised:
                    self._save({})
                    raise Interrupted(f"interrupted at step {progress.step}; all is saved in {self.folder}")
                if time.monotonic() - self._saved > 60 * spec.checkpoint_minutes:
                    self._save({})
            progress.epoch, progress.batch = progress.epoch + 1, 0
            last = progress.epoch == epochs
            metrics = self._validate() if last or progress.epoch % spec.validate_every_epochs == 0 else {}
            self._save(metrics)

    def _step(self, indices: list[int], epochs: int, batches: int) -> None:
        state, spec = self.state, self.recipe.train
        epoch = state.progress.epoch + state.progress.batch / batches
        rate = spec.optimizer.learning_rate * learning_rate_factor(spec.schedule, epoch, epochs)
        set_learning_rate(state.optimizer, rate)
        device = state.potential.scale.device
        graph, labels = (part.to(device) for part in self.train.load(indices))
        scale = float(state.potential.scale)
        try:
            terms = training_loss(spec.loss, scale, state.potential(graph), labels, graph)
            state.optimizer.zero_grad()
            terms.total.backward()  # type: ignore[no-untyped-call]  # torch's own
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"out of memory: a batch of {graph.num_atoms} atoms and {graph.num_edges} edges does not fit;"
                f" lower train.batch (`atoms: {max(graph.num_atoms // 2, 1)}`)"
            ) from error
        clipped = torch.nn.utils.clip_grad_norm_(state.potential.parameters(), spec.optimizer.clip_norm)
        norm, terms = float(clipped), terms.detach()
        self._check_finite(float(terms.total), norm, indices)
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

    def _check_finite(self, loss: float, norm: float, indices: list[int]) -> None:
        if math.isfinite(loss) and math.isfinite(norm):
            return
        frames = ", ".join(self.train.structures[i].source or f"frame {i}" for i in indices[:3])
        raise InputError(
            f"the loss became {loss} (gradient {norm}) at step {self.state.progress.step + 1}, on {frames}"
            f"{', …' if len(indices) > 3 else ''}; the last checkpoint is good:"
            " lower train.optimizer.learning_rate or clip_norm"
        )

    def _validate(self) -> dict[str, float]:
        state = self.state
        errors = validate(state.evaluated(), self.validation, self.recipe.train.loss)
        metrics = {f"validation/{key}": value for key, value in errors.items()}
        row = {"step": state.progress.step, "epoch": float(state.progress.epoch)} | metrics
        self.record.validation(row)
        self.tracker.metrics(metrics, state.progress.step)
        is_best = errors["loss"] < state.progress.best
        self.display.validation(state.progress.epoch, errors, is_best)
        if is_best:
            state.progress.best = errors["loss"]
            save_checkpoint(self.folder / "best.safetensors", state.best_checkpoint(self.recipe, metrics))
        return metrics

    def _save(self, metrics: dict[str, float]) -> None:
        now = time.monotonic()
        progress = self.state.progress
        progress.seconds += now - self._clock
        progress.tracking = self.tracker.run_id or progress.tracking
        self._clock = self._saved = now
        save_checkpoint(self.folder / "last.safetensors", self.state.full_checkpoint(self.recipe, metrics))
