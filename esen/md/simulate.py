"""A trajectory from its start, or from where it was interrupted, to its end."""

import io
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from ase import units
from torch import Tensor

from esen.errors import InputError
from esen.files import write_arrays
from esen.md.engine import Arrays, Engine, Start
from esen.md.files import SystemFiles, frame_of

_SAVE_SECONDS = 60.0
_MOST_ROWS = 1000
"""Kept on the device before they are written."""


@dataclass(frozen=True)
class Plan:
    """How long, and what is kept.

    Attributes:
        timestep_fs: Δt.
        steps: in all.
        record_every: steps between rows of energies.
        frame_every: steps between frames, where there are frames.
    """

    timestep_fs: float
    steps: int
    record_every: int
    frame_every: int


class StoppedError(Exception):
    """Asked to stop; all is saved."""


def simulate(
    engine: Engine,
    starts: Sequence[Start],
    plan: Plan,
    files: Sequence[SystemFiles],
    state: Path,
    *,
    resume: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int], None] = lambda step: None,
) -> None:
    """Move all systems of an engine to the end of the plan. Every minute all is saved.

    Args:
        engine: at step 0, or anywhere if it is to resume.
        starts: its systems.
        plan: how long.
        files: of each system; fresh, or as they were left.
        state: where the engine is saved.
        resume: go on from the saved state, where there is one.
        should_stop: asked at every step.
        progress: told the number of every step.

    Raises:
        StoppedError: `should_stop` said so.
        InputError: the saved state or the files do not fit.
        OSError: nothing can be written.
    """
    rows = _Rows(starts, plan, files)
    if resume and state.exists():
        _restore(engine, starts, files, state)
    else:
        rows.look(engine)
    saved = time.monotonic()
    while engine.step < plan.steps and engine.live:
        stopped = should_stop()
        if stopped or time.monotonic() - saved > _SAVE_SECONDS:
            rows.flush()
            _save(engine, starts, files, state)
            saved = time.monotonic()
        if stopped:
            raise StoppedError
        engine.advance()
        progress(engine.step)
        rows.look(engine)
    rows.flush()
    _save(engine, starts, files, state)


class _Rows:
    """Energies on the way from the device to the files."""

    def __init__(self, starts: Sequence[Start], plan: Plan, files: Sequence[SystemFiles]) -> None:
        self._starts, self._plan, self._files = starts, plan, files
        self._waiting: list[tuple[int, tuple[int, ...], Tensor, Tensor]] = []

    def look(self, engine: Engine) -> None:
        """Keep what is due at this step."""
        step = engine.step
        with_row, with_frame = step % self._plan.record_every == 0, step % self._plan.frame_every == 0
        if not with_row and not with_frame:
            return
        potential, kinetic = engine.observe()  # stops what has no energy, so that no frame is written of it
        if with_row:
            self._waiting.append((step, tuple(engine.live), potential, kinetic))
        if with_frame:
            for system in engine.live:
                if self._files[system].frames is not None:
                    atoms = frame_of(self._starts[system], engine.snapshot(system), step, self._time(step))
                    self._files[system].write_frame(atoms)
        if len(self._waiting) >= _MOST_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write the rows."""
        lines: list[list[tuple[float, ...]]] = [[] for _ in self._starts]
        for step, live, potential, kinetic in self._waiting:
            for system, held, moving in zip(live, potential.tolist(), kinetic.tolist(), strict=True):
                temperature = moving / (1.5 * units.kB * len(self._starts[system].structure))
                row = (step, self._time(step), held + moving, held, moving, temperature)
                lines[system].append(row)
        for file, rows in zip(self._files, lines, strict=True):
            if rows:
                file.write_rows(rows)
        self._waiting.clear()

    def _time(self, step: int) -> float:
        return step * self._plan.timestep_fs / 1000


def _save(engine: Engine, starts: Sequence[Start], files: Sequence[SystemFiles], state: Path) -> None:
    marks = [part.mark() for file in files for part in file.parts()]
    arrays: dict[str, Any] = engine.save() | _species(starts) | {"marks": np.array(marks, dtype=np.int64)}
    write_arrays(state, arrays, compressed=False)


def _species(starts: Sequence[Start]) -> Arrays:
    """Of which systems a state is."""
    return {
        "atoms": np.array([len(start.structure) for start in starts], dtype=np.int64),
        "numbers": np.concatenate([start.structure.numbers for start in starts]),
    }


def _restore(engine: Engine, starts: Sequence[Start], files: Sequence[SystemFiles], state: Path) -> None:
    arrays = read_state(state)
    parts = [part for file in files for part in file.parts()]
    try:
        marks = arrays["marks"].tolist()
        if len(marks) != len(parts):
            raise InputError(f"{state}: saved with other files of frames than are asked for; begin anew")
        if not all(np.array_equal(arrays[name], array) for name, array in _species(starts).items()):
            raise InputError(f"{state}: saved of other systems; begin anew")
        engine.restore(arrays)
    except KeyError as error:
        raise InputError(f"{state}: saved by another engine, it has no {error}; begin anew") from error
    for part, mark in zip(parts, marks, strict=True):
        part.cut(mark)


def read_state(state: Path) -> Arrays:
    """What was saved last.

    Raises:
        InputError: it cannot be read.
    """
    try:
        whole = io.BytesIO(state.read_bytes())
        with ZipFile(whole) as archive:
            damaged = archive.testzip()  # by its checksums, before anything is used
        if damaged is not None:
            raise ValueError(f"{damaged} is damaged")
        whole.seek(0)
        with np.load(whole, allow_pickle=False) as content:
            return {name: content[name] for name in content.files}
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise InputError(f"{state}: not a saved state of a trajectory ({error}); begin anew") from error
