"""What a training shows on the terminal."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

_LOG_SECONDS = 60.0


class TrainDisplay:
    """A progress bar with rate and time left for the whole training, and a line a validation.

    In a log, where no bar can be drawn, there is a line a minute while no validation ends.

    Args:
        console: where to show it.
        stages: epochs of each stage.
        frames: frames an epoch.
    """

    def __init__(self, console: Console, stages: tuple[int, ...], frames: int) -> None:
        self.console = console
        self._stages = stages
        self._frames = frames
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("frames · {task.fields[rate]} · loss {task.fields[loss]} · left"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            speed_estimate_period=60,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._title = ""
        self._titled = False
        self._said = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def line(self, text: str) -> None:
        """A line above the bar."""
        self.console.print(text, highlight=False, soft_wrap=True)
        self._said = time.monotonic()

    def epoch(self, stage: int, epoch: int, epochs: int, batches: int, done: int) -> None:
        """An epoch begins, with `done` of its batches behind it."""
        self._title = f"epoch {epoch + 1}/{epochs}"
        if len(self._stages) > 1:
            self._title = f"stage {stage + 1}/{len(self._stages)}, {self._title}"
        before = sum(self._stages[:stage]) + epoch
        completed = round(self._frames * (before + done / batches))
        if self._task is None:
            total = self._frames * sum(self._stages)
            self._task = self._bar.add_task(self._title, total=total, completed=completed, rate="…", loss="…")
        else:
            self._bar.update(self._task, description=self._title, completed=completed)

    def step(self, frames: int, loss: float) -> None:
        """A batch is done."""
        assert self._task is not None
        task = self._bar.tasks[0]
        rate = f"{task.speed:.1f}/s" if task.speed else "…"
        self._bar.update(self._task, advance=frames, rate=rate, loss=f"{loss:.3g}")
        if self._bar.disable and time.monotonic() - self._said > _LOG_SECONDS:
            self.line(
                f"{self._title}: {task.completed:.0f}/{task.total:.0f} frames · {rate} · loss {loss:.3g}"
            )

    def validating(self) -> None:
        """A validation begins."""
        if self._task is not None:
            self._bar.update(self._task, description=f"{self._title}, validating")

    def stopping(self) -> None:
        """The run was asked to stop. Called from a signal's handler, so it may not print."""
        if self._task is not None:
            self._bar.update(self._task, description="stopping after this batch")

    def validation(self, epoch: int, errors: dict[str, float], is_best: bool) -> None:
        """A line of validation errors; a star marks the best so far."""
        if not self._titled:
            self.line(
                f"{'epoch':>6} {'loss':>9} {'E meV/atom':>11} {'F meV/Å':>9} {'σ meV/Å³':>9}   (validation)"
            )
            self._titled = True
        cells = [f"{epoch:>6}", f"{errors['loss']:>9.4f}"]
        for key, width in (("energy_mae", 11), ("forces_mae", 9), ("stress_mae", 9)):
            cells.append(f"{errors[key]:>{width}.3f}" if key in errors else f"{'–':>{width}}")
        self.line(" ".join(cells) + ("  *" if is_best else ""))
