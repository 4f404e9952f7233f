"""What the user sees while trajectories are computed."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from esen.md.simulate import Plan
from esen.study.drift.result import Trajectory


class DriftDisplay:
    """A bar with speed and time left on a terminal; elsewhere a line a trajectory. All on stderr."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", speed="", visible=False)
        self._timestep_fs = 0.0
        self._first: int | None = None
        self._begun = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, label: str, names: Sequence[str], plan: Plan) -> None:
        """Trajectories of some systems begin."""
        shown = names[0] if len(names) == 1 else f"{len(names)} systems"
        self._timestep_fs, self._first = plan.timestep_fs, None
        self._bar.reset(self._task, description=f"{label}: {shown}", total=plan.steps, visible=True, speed="")

    def step(self, step: int) -> None:
        """So many steps are made."""
        now = time.monotonic()
        if self._first is None:
            self._first, self._begun = step, now
        passed = now - self._begun
        rate = (step - self._first) / passed if passed > 0 else 0.0
        speed = f"{rate:.3g} steps/s, {rate * self._timestep_fs * 86400e-6:.2g} ns/day" if rate else ""
        self._bar.update(self._task, completed=step, speed=speed)

    def found(self, trajectories: Sequence[Trajectory]) -> None:
        """A potential is through."""
        for t in trajectories:
            if t.failure is not None:
                words = f"stopped at step {t.failure.step}: {t.failure.reason}"
            elif t.drift is not None:
                words = f"drift {t.drift.slope:+.2g} ± {t.drift.slope_error:.1g} meV/atom/ps"
            else:
                words = "no rows"
            self._console.print(f"{t.potential}, {t.system}: {words}", highlight=False, soft_wrap=True)

    def stopping(self) -> None:
        """The user's wish was heard."""
        self._console.print("stopping after this step; again: at once", highlight=False)
