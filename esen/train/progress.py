"""Progress of a training on the terminal or in a log."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console  # noqa: TID251  # as a type
from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn

from esen.data.targets import TARGETS
from esen.terminal import progress_bar
from esen.text import printable

_LOG_SECONDS = 60.0
_HEADS = {f"{target.name}_mae": f" {target.symbol} {target.error_unit}".rjust(9) for target in TARGETS}
"""Head of the column of each target; the column is as wide."""


def reporter(console: Console) -> Callable[[str], None]:
    """Return a function that prints lines as they are, without breaking them."""
    return lambda text: console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


class TrainDisplay:
    """A progress bar with rate and time left for the whole training, and one line per validation.

    In a log, where no bar can be drawn, there is one line per minute until a validation ends.

    Args:
        console: Where to show it.
        stages: Epochs of each stage.
        frames: Frames per epoch.
    """

    def __init__(self, console: Console, stages: tuple[int, ...], frames: int) -> None:
        self._print = reporter(console)
        self._stages = stages
        self._frames = frames
        self._bar = progress_bar(
            "{task.description}",
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            "frames · {task.fields[rate]} · loss {task.fields[loss]} · left",
            TimeRemainingColumn(compact=True),
            on=console,
            speed_estimate_period=60,
        )
        self._title = "before the first step"
        self._task = self._bar.add_task(self._title, total=frames * sum(stages), rate="…", loss="…")
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
        """Print a line above the bar."""
        self._print(text)
        self._said = time.monotonic()

    def epoch(self, stage: int, epoch: int, epochs: int, batches: int, done: int) -> None:
        """Show that an epoch begins, `done` of its batches being done already."""
        self._title = f"epoch {epoch + 1}/{epochs}"
        if len(self._stages) > 1:
            self._title = f"stage {stage + 1}/{len(self._stages)}, {self._title}"
        before = sum(self._stages[:stage]) + epoch
        completed = round(self._frames * (before + done / batches))
        self._bar.update(self._task, description=self._title, completed=completed)

    def step(self, frames: int, loss: float) -> None:
        """Show that a batch is done."""
        task = self._bar.tasks[0]
        rate = f"{task.speed:.1f}/s" if task.speed else "…"
        self._bar.update(self._task, advance=frames, rate=rate, loss=f"{loss:.3g}")
        if self._bar.disable and time.monotonic() - self._said > _LOG_SECONDS:
            self.line(
                f"{self._title}: {task.completed:.0f}/{task.total:.0f} frames · {rate} · loss {loss:.3g}"
            )

    def validating(self) -> None:
        """Show that a validation begins."""
        self._bar.update(self._task, description=f"{self._title}, validating")

    def stopping(self) -> None:
        """Show that the run will stop. `StopSignal` calls it from a thread, which may print."""
        self.line("stopping after this batch; a second signal stops at once and loses what was not saved")

    def validation(self, epoch: int, errors: dict[str, float], is_best: bool) -> None:
        """Print a line of validation errors; a star marks the best so far."""
        if not self._titled:
            self.line(f"{'epoch':>6} {'loss':>9} {' '.join(_HEADS.values())}   (validation)")
            self._titled = True
        cells = [f"{epoch:>6}", f"{errors['loss']:>9.4f}"]
        for key, head in _HEADS.items():
            cells.append(f"{errors[key]:>{len(head)}.3f}" if key in errors else f"{'–':>{len(head)}}")
        self.line(" ".join(cells) + ("  *" if is_best else ""))
