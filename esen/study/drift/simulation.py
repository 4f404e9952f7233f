"""The trajectories of one potential: initial velocities, integration in batches, interruption and resumption."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import ase.io
import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TimeRemainingColumn
from rich.text import Text

from esen.data.atoms import from_atoms
from esen.data.constraints import free_directions, projected
from esen.data.masses import masses_of
from esen.data.structure import Structure
from esen.errors import InputError
from esen.evaluate.laws.run import check_laws
from esen.evaluate.laws.subject import Subject
from esen.evaluate.relax import RelaxSpec, relax
from esen.files import Interrupted, StopSignal, read_arrays, signals_interrupt, write_arrays
from esen.graph.batch import pack_batches
from esen.md.ase_nve import AseNve
from esen.md.calculator import EsenCalculator
from esen.md.drift import Series
from esen.md.engine import Engine, Failure, Start, progress_of
from esen.md.files import SystemFiles, TrajectoryFormat, read_series
from esen.md.nve import BatchNve
from esen.md.protocols import Protocol, Relaxation
from esen.md.simulate import Plan, StoppedError, ms_per_step, simulate
from esen.md.systems import System
from esen.md.velocities import maxwell_boltzmann, without_drift, without_rotation
from esen.study.drift.choice import DriftOptions
from esen.study.drift.report import OrderTest, Trajectory, order_of, trajectory_of
from esen.study.potentials import Resolved, file_name
from esen.terminal import make_console, progress_bar
from esen.text import printable

_log = logging.getLogger(__name__)

ORDER_PS = 1.0
"""Duration of the order test. Over longer times, trajectories with different timesteps are not comparable."""

Started = Sequence[tuple[System, Start]]


class Display:
    """Shows a bar with speed and time left on a terminal, and one line per finished trajectory. All goes to stderr.

    Attributes:
        bar: is shown within its `with` block.
    """

    def __init__(self) -> None:
        columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), _SpeedColumn())
        self.bar = progress_bar(*columns, TimeRemainingColumn(), on=make_console(soft_wrap=True))
        self._task = self.bar.add_task("", visible=False)

    def begin(self, label: str, names: Sequence[str], plan: Plan, step: int) -> None:
        """Show that systems are simulated from some step on."""
        shown = names[0] if len(names) == 1 else f"{len(names)} systems"
        self.bar.reset(self._task, description=f"{label}: {shown}", completed=step, total=plan.steps)
        self.bar.update(self._task, visible=True, timestep_fs=plan.timestep_fs)

    def proceed(self, step: int) -> None:
        """Show the number of steps that were made."""
        self.bar.update(self._task, completed=step)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self.bar.console.print(printable(line))


class _SpeedColumn(ProgressColumn):
    """Steps per second, and nanoseconds per day."""

    def render(self, task: Task) -> Text:
        """Make the text."""
        if not task.speed:
            return Text("")
        nanoseconds = task.speed * float(task.fields["timestep_fs"]) * 86400e-6
        return Text(f"{task.speed:.3g} steps/s, {nanoseconds:.2g} ns/day")


@dataclass(frozen=True, eq=False)
class Simulation:
    """What all trajectories of a run share.

    Attributes:
        output: folder of the run.
        options: of the run.
        resume: whether trajectories continue from their saved states.
        frame_every: number of steps between two frames, by name of the protocol.
        display: shows the progress.
        stop: whether the user asked to stop.
    """

    output: Path
    options: DriftOptions
    resume: bool
    frame_every: Mapping[str, int]
    display: Display
    stop: StopSignal

    def run(
        self, label: str, potential: Resolved, protocol: Protocol, systems: Sequence[System]
    ) -> tuple[list[Trajectory], list[OrderTest]]:
        """Simulate all systems of a protocol with one potential, and measure their trajectories.

        Raises:
            Interrupted: the user asked to stop; everything is saved.
            InputError: what was saved does not fit, or is damaged.
        """
        folder = self.output / file_name(label) / file_name(protocol.name)
        folder.mkdir(parents=True, exist_ok=True)
        started, failures = self._start(label, potential, protocol, systems, folder / "starts.npz")
        frame_format = self.options.frame_format
        stopped, times = self._simulate(label, potential, protocol, started, folder, frame_format)
        failures |= stopped
        trajectories = []
        for system in systems:
            path = folder / f"{file_name(system.name)}.csv"
            failure = failures.get(system.name)
            found = trajectory_of(label, protocol, system, path, failure, self.options.threshold)
            wall, cpu = times.get(system.name, (None, None))
            on_cpu = potential.device == "cpu"
            found = replace(
                found, device=potential.device, ms_per_step=wall, cpu_ms_per_step=cpu if on_cpu else None
            )
            if self.options.jacobian:
                frames = path.with_name(f"{file_name(system.name)}.{frame_format}")
                found = replace(found, asymmetry=asymmetries(potential, frames, self.options.jacobian))
            trajectories.append(found)
            self.display.say(found.summary)
        return trajectories, self._order_tests(label, potential, protocol, started, folder)

    def _start(
        self, label: str, potential: Resolved, protocol: Protocol, systems: Sequence[System], kept: Path
    ) -> tuple[Started, dict[str, Failure]]:
        """Return the systems with their starts, and why others have none.

        Positions are kept in a file as soon as each relaxation ends, from which a resumed run reads them.
        """
        before = read_arrays(kept) if self.resume and kept.exists() else {}
        started: list[tuple[System, Start]] = []
        failures: dict[str, Failure] = {}
        for number, system in enumerate(systems):
            structure, key = system.structure, f"positions-{number}"
            if key in before:
                structure = replace(structure, positions=before[key])
            elif protocol.relaxation is not None:
                try:
                    structure = self._relaxed(label, potential, protocol.relaxation, structure)
                except InputError as error:
                    failures[system.name] = Failure(0, f"relaxation: {error}")
                    continue
            started.append((system, make_start(structure, system.temperature_kelvin, protocol)))
            if key not in before:
                before[key] = structure.positions
                write_arrays(kept, before, compressed=False)
        return started, failures

    def _relaxed(
        self, label: str, potential: Resolved, relaxation: Relaxation, structure: Structure
    ) -> Structure:
        """Relax positions. A signal interrupts at once, because a resumed run begins the relaxation again."""
        try:
            with signals_interrupt():
                if self.stop.raised:
                    raise KeyboardInterrupt
                return relaxed(potential, structure, relaxation)
        except KeyboardInterrupt:
            raise self._interrupted(f"while {label} relaxed its systems") from None

    def _order_tests(
        self, label: str, potential: Resolved, protocol: Protocol, started: Started, folder: Path
    ) -> list[OrderTest]:
        """Simulate each system from the same start at Δt, Δt/2, Δt/4, …, with rows at the same times."""
        timesteps = [protocol.timestep_fs / 2**halvings for halvings in range(self.options.order_test)]
        duration = min(ORDER_PS, protocol.duration_ps)
        series: dict[str, list[Series]] = {system.name: [] for system, _ in started if timesteps}
        for halvings, timestep in enumerate(timesteps):
            finer = replace(protocol, timestep_fs=timestep, duration_ps=duration, record_every=2**halvings)
            place = folder / f"order-{timestep:g}fs"
            place.mkdir(exist_ok=True)
            self._simulate(f"{label}, Δt {timestep:g} fs", potential, finer, started, place, None)
            for system, _ in started:
                path = place / f"{file_name(system.name)}.csv"
                series[system.name].append(read_series(path, len(system.structure)))
        return [order_of(label, name, timesteps, found) for name, found in series.items()]

    def _simulate(
        self,
        label: str,
        potential: Resolved,
        protocol: Protocol,
        started: Started,
        folder: Path,
        frame_format: TrajectoryFormat | None,
    ) -> tuple[dict[str, Failure], dict[str, tuple[float | None, float | None]]]:
        """Simulate all systems to the end, in batches.

        Returns:
            By name, why systems were stopped, and the share of each in the time of a step of its batch, in ms.
        """
        frame_every = self.frame_every[protocol.name]
        plan = Plan(protocol.timestep_fs, protocol.steps, protocol.record_every, frame_every)
        sizes = [len(start.structure) for _, start in started]
        atoms = 1 if potential.calculator is not None else self.options.batch_atoms
        failures: dict[str, Failure] = {}
        times: dict[str, tuple[float | None, float | None]] = {}
        for batch in pack_batches(sizes, atoms=atoms, structures=None, order=range(len(sizes))):
            names, starts = zip(*((started[i][0].name, started[i][1]) for i in batch), strict=True)
            stems = [folder / file_name(name) for name in names]
            state = stems[0].with_name(f"{stems[0].name}.state.npz")
            resume, step = self.resume and state.exists(), 0
            if resume:
                saved = read_arrays(state)
                step, live, failed = progress_of(saved)
                if step >= plan.steps or not live:
                    failures |= {names[index]: failure for index, failure in failed.items()}
                    times |= _shares(names, starts, ms_per_step(saved))
                    continue
            files = [SystemFiles(stem, frame_format, fresh=not resume) for stem in stems]
            engine = self._engine(potential, starts, plan.timestep_fs)
            self.display.begin(label, names, plan, step)
            try:
                simulate(
                    engine,
                    starts,
                    plan,
                    files,
                    state,
                    resume=resume,
                    should_stop=lambda: self.stop.raised,
                    progress=self.display.proceed,
                )
            except StoppedError:
                where = f"at step {engine.step} of {plan.steps} ({label}, {', '.join(names)})"
                raise self._interrupted(where) from None
            failures |= {names[index]: failure for index, failure in engine.failures.items()}
            times |= _shares(names, starts, ms_per_step(read_arrays(state)))
        return failures, times

    def _engine(self, potential: Resolved, starts: Sequence[Start], timestep_fs: float) -> Engine:
        if potential.calculator is not None:
            return AseNve(potential.calculator, starts[0], timestep_fs)
        return BatchNve(
            potential.for_dynamics, starts, timestep_fs, device=potential.device, skin=self.options.skin
        )

    def _interrupted(self, where: str) -> Interrupted:
        return Interrupted(
            f"interrupted {where}, all is saved; resume with the same command, --output {self.output} and --resume"
        )


def _shares(
    names: Sequence[str], starts: Sequence[Start], times: Sequence[float]
) -> dict[str, tuple[float | None, float | None]]:
    """Divide the times of a batch among its systems by their numbers of atoms. None where a time is not known."""
    atoms = sum(len(start.structure) for start in starts)
    found = {}
    for name, start in zip(names, starts, strict=True):
        wall, cpu = (None if np.isnan(time) else time * len(start.structure) / atoms for time in times)
        found[name] = (wall, cpu)
    return found


def make_start(structure: Structure, temperature_kelvin: float, protocol: Protocol) -> Start:
    """Draw momenta with the seed of the protocol, and remove drift and rotation as it prescribes.

    Atoms have momenta only along the directions in which constraints let them move. They cannot rotate together where
    anything is fixed, so no rotation is removed there.

    Raises:
        InputError: an element has no mass.
    """
    amu = masses_of(structure)
    free = free_directions(structure.constraints, structure.cell, len(structure))
    momenta = projected(maxwell_boltzmann(amu, temperature_kelvin, protocol.seed), free)
    if protocol.remove_momentum:
        momenta = without_drift(momenta, amu, free)
    if protocol.remove_rotation and free is None:
        momenta = without_rotation(momenta, amu, structure.positions)
    return Start(structure, amu, momenta, protocol.freedoms(structure))


def relaxed(potential: Resolved, structure: Structure, relaxation: Relaxation) -> Structure:
    """Relax the positions by LBFGS; warn if forces stay above the limit.

    The calculator is reset first, so that the result does not depend on what it computed before.

    Raises:
        InputError: the potential cannot compute the structure.
    """
    calculator = potential.calculator or EsenCalculator(potential.potential, device=potential.device)
    if hasattr(calculator, "reset"):
        calculator.reset()
    spec = RelaxSpec(fmax=relaxation.fmax, steps=relaxation.steps, cell=False, optimizer="lbfgs")
    found = relax(structure, calculator, spec)
    if not found.converged:
        words = "%s: forces are still above %g eV/Å after %d steps of relaxation"
        _log.warning(words, structure.source, spec.fmax, spec.steps)
    return replace(structure, positions=found.structure.positions)


def asymmetries(potential: Resolved, path: Path, count: int) -> tuple[float, ...]:
    """Return λ = ‖J − Jᵀ‖ / 2‖J‖ of the forces' Jacobian at frames evenly spaced in time, the last one among them.

    Args:
        potential: whose forces are differentiated.
        path: file of the frames of one trajectory.
        count: number of frames.
    """
    frames = ase.io.read(path, index=":") if path.exists() and path.stat().st_size else []
    if not frames:
        return ()
    chosen = evenly_spaced(np.array([frame.info["time_ps"] for frame in frames]), count)
    subject = Subject(
        potential.potential,
        potential.device,
        differentiable=potential.differentiable,
        stateful=potential.stateful,
    )
    structures = [from_atoms(frames[i], f"{path.stem}, frame {i}") for i in chosen]
    report = check_laws(subject, structures, ["curl"], seed=0)
    return tuple(finding.value for finding in report.findings if finding.law == "curl")


def evenly_spaced(times: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of the times that are closest to `count` evenly spaced ones, of which the last is the end.

    >>> evenly_spaced(np.array([0.0, 1.0, 2.0, 3.0, 4.0, 8.0]), 2).tolist()
    [4, 5]
    """
    wanted = np.linspace(times[0], times[-1], count + 1)[1:]
    return np.unique(np.abs(times[:, None] - wanted).argmin(axis=0))
