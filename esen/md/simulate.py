"""Run a trajectory to its end, from its start or from where it was interrupted."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import units
from torch import Tensor

from esen.errors import InputError
from esen.files import read_arrays, write_arrays
from esen.md.engine import Arrays, Engine, Start
from esen.md.files import SystemFiles, frame_of
from esen.md.velocities import degrees_of_freedom


@dataclass(frozen=True)
class Plan:
    """How long a trajectory is, and what is kept of it.

    Attributes:
        timestep_fs: time step.
        steps: number of steps from the start to the end.
        record_every: number of steps between two rows of energies.
        frame_every: number of steps between two frames.
        save_seconds: time between two saved states.
        waiting_rows: number of rows of energies that stay on the device before they are written.
    """

    timestep_fs: float
    steps: int
    record_every: int
    frame_every: int
    save_seconds: float = 60.0
    waiting_rows: int = 1000


class StoppedError(Exception):
    """The trajectory was asked to stop; its state is saved."""


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
    """Simulate all systems of an engine until the plan is fulfilled, and save the state now and then.

    Args:
        engine: at step 0; at any step if it is to resume.
        starts: of the systems of the engine.
        plan: how long, and what is kept.
        files: of each system.
        state: file of the saved state.
        resume: whether to continue from the saved state, if there is one.
        should_stop: is called before every step.
        progress: is called with the number of every step that was made.

    Raises:
        StoppedError: `should_stop` returned True; the state is saved.
        InputError: the saved state or the files do not fit, or are damaged.
        OSError: a file cannot be written.
    """
    recorder = _Recorder(starts, plan, files)
    before = np.zeros(2)
    if resume and state.exists():
        before = _restore(engine, starts, files, state)
    else:
        recorder.record(engine)
    begun = _clocks()
    saved = time.monotonic()
    while engine.step < plan.steps and engine.live:
        stopped = should_stop()
        if stopped or time.monotonic() - saved > plan.save_seconds:
            recorder.flush()
            _save(engine, starts, files, state, before + _clocks() - begun)
            saved = time.monotonic()
        if stopped:
            raise StoppedError
        engine.advance()
        progress(engine.step)
        recorder.record(engine)
    recorder.flush()
    _save(engine, starts, files, state, before + _clocks() - begun)


def ms_per_step(saved: Arrays) -> tuple[float, float]:
    """Return the time of a step in ms, by the clock and of all CPU threads; NaN if it is not known.

    It includes neighbour searches and what is written, and is the mean over all steps, also those before the trajectory
    was interrupted.

    Args:
        saved: a saved state.
    """
    steps, seconds = int(saved["step"]), saved.get("seconds", np.full(2, np.nan))
    wall, cpu = (1000 * seconds / steps).tolist() if steps else (np.nan, np.nan)
    return wall, cpu


def _clocks() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])


class _Recorder:
    """Writes rows and frames when they are due. Energies wait on the device, so that no step waits for them."""

    def __init__(self, starts: Sequence[Start], plan: Plan, files: Sequence[SystemFiles]) -> None:
        self._starts, self._plan, self._files = starts, plan, files
        self._freedoms = [
            degrees_of_freedom(start.structure) if start.freedoms is None else start.freedoms
            for start in starts
        ]
        self._waiting: list[tuple[int, tuple[int, ...], tuple[Tensor, ...]]] = []

    def record(self, engine: Engine) -> None:
        """Keep what is due at the engine's step."""
        step = engine.step
        with_row, with_frame = step % self._plan.record_every == 0, step % self._plan.frame_every == 0
        if not with_row and not with_frame:
            return
        energies = engine.observe()  # stops systems without a finite energy before a frame is written
        if with_row:
            self._waiting.append((step, tuple(engine.live), (*energies, *engine.invariants())))
        if with_frame:
            for system in engine.live:
                if self._files[system].frames is not None:
                    atoms = frame_of(self._starts[system], engine.snapshot(system), step, self._time(step))
                    self._files[system].write_frame(atoms)
        if len(self._waiting) >= self._plan.waiting_rows:
            self.flush()

    def flush(self) -> None:
        """Write the rows that wait."""
        rows: list[list[tuple[float, ...]]] = [[] for _ in self._starts]
        for step, live, observed in self._waiting:
            values = (tensor.tolist() for tensor in observed)
            for system, held, moving, *invariants in zip(live, *values, strict=True):
                freedoms = self._freedoms[system]
                temperature = moving / (1.5 * units.kB * (freedoms / 3)) if freedoms else 0.0
                row = (step, self._time(step), held + moving, held, moving, temperature, *invariants)
                rows[system].append(row)
        for file, mine in zip(self._files, rows, strict=True):
            if mine:
                file.write_rows(mine)
        self._waiting.clear()

    def _time(self, step: int) -> float:
        return step * self._plan.timestep_fs / 1000


def _save(
    engine: Engine, starts: Sequence[Start], files: Sequence[SystemFiles], state: Path, seconds: np.ndarray
) -> None:
    lengths = [growing.length() for file in files for growing in file.growing]
    arrays: dict[str, Any] = engine.save() | _species(starts) | {"marks": np.array(lengths, dtype=np.int64)}
    arrays["seconds"] = seconds
    write_arrays(state, arrays, compressed=False)


def _species(starts: Sequence[Start]) -> Arrays:
    """Arrays by which a saved state is recognised as that of the same systems."""
    return {
        "atoms": np.array([len(start.structure) for start in starts], dtype=np.int64),
        "numbers": np.concatenate([start.structure.numbers for start in starts]),
    }


def _restore(
    engine: Engine, starts: Sequence[Start], files: Sequence[SystemFiles], state: Path
) -> np.ndarray:
    """Restore engine and files. Return the seconds that the steps took so far; NaN if they are not known."""
    arrays = read_arrays(state)
    growing = [each for file in files for each in file.growing]
    try:
        lengths = arrays["marks"].tolist()
        if len(lengths) != len(growing):
            raise InputError(f"{state}: was saved with other files of frames than are asked for; begin anew")
        if not all(np.array_equal(arrays[name], array) for name, array in _species(starts).items()):
            raise InputError(f"{state}: was saved of other systems; begin anew")
        engine.restore(arrays)
    except KeyError as error:
        raise InputError(f"{state}: was saved by another engine, it has no {error}; begin anew") from error
    for file, length in zip(growing, lengths, strict=True):
        file.truncate(length)
    return np.asarray(arrays.get("seconds", np.full(2, np.nan)))
