"""The whole test: every potential on every system, to the end or to where it is interrupted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

from ase.data import chemical_symbols

from esen.errors import InputError
from esen.files import StopSignal, locked
from esen.md.engine import Failure, Start
from esen.md.protocols import Protocol
from esen.md.simulate import StoppedError
from esen.md.systems import System, known_systems
from esen.study.drift.earlier import earlier_trajectories
from esen.study.drift.manifest import begin_or_go_on, manifest
from esen.study.drift.measure import asymmetries, order_tests, trajectory_of
from esen.study.drift.options import OWN, DriftOptions
from esen.study.drift.output import write_results
from esen.study.drift.progress import DriftDisplay
from esen.study.drift.result import OrderTest, Trajectory
from esen.study.drift.rows import Row, drift_rows, order_rows, verdict_lines
from esen.study.drift.simulation import Simulation
from esen.study.drift.starts import make_starts
from esen.study.potentials import METALS, PotentialOptions, Resolved, file_name, resolve_all
from esen.track import Tracker

ARGON = 18
"""What `lj` is of, as long as the user does not say otherwise."""


@dataclass(frozen=True, eq=False)
class DriftResult:
    """What was found.

    Attributes:
        rows: of the table.
        order_rows: of that of the order test, if it was made.
        lines: a verdict a potential, and what is to be known.
        paths: of the files.
        trajectories: all of them.
        orders: all order tests.
        failed: whether a trajectory did not come to its end, or drifts more than the user allows.
    """

    rows: list[Row]
    order_rows: list[Row]
    lines: list[str]
    paths: dict[str, Path]
    trajectories: list[Trajectory]
    orders: list[OrderTest]
    failed: bool


@dataclass(frozen=True, eq=False)
class _Found:
    """What one potential gave."""

    trajectories: list[Trajectory]
    orders: list[OrderTest]
    notes: list[str]


def run_drift(
    potentials: Sequence[str],
    runs: list[tuple[Protocol, list[System]]],
    options: DriftOptions,
    *,
    output: Path,
    resume: bool,
    tracker: Tracker,
    beside: Sequence[Path] = (),
    **how: Unpack[PotentialOptions],
) -> DriftResult:
    """Simulate every system with every potential, and say whether energy is conserved.

    Args:
        potentials: each as `resolve_potential` takes it.
        runs: protocols with their systems.
        options: of the test.
        output: folder of all files; new, or that of an interrupted test.
        resume: go on with what is in the folder.
        tracker: of the test; each potential has a child of it.
        beside: folders of earlier tests, which are shown with this one.
        **how: of `resolve_potential`; a checkpoint's dtype is float64 if none is given.

    Raises:
        InputError: a potential or a structure cannot be used, or the folder is of another test.
        Interrupted: by Ctrl-C or SIGTERM; all is saved.
    """
    resolved = resolve_all(potentials, how)
    for label, potential in resolved.items():
        if not any(_known(potential, protocol, systems)[0] for protocol, systems in runs):
            raise InputError(f"{label}: knows the elements of none of the systems; give other --structures")
    earlier: list[Trajectory] = []
    for folder in beside:
        taken = {*resolved, *(t.potential for t in earlier)}
        earlier += earlier_trajectories(folder, taken, options.threshold)
    content = manifest(resolved, runs, options, how.get("calculator_args", ()))
    begin_or_go_on(output, content, resume=resume)
    tracker.params(content)
    trajectories: list[Trajectory] = []
    orders: list[OrderTest] = []
    notes: list[str] = []
    with locked(output), DriftDisplay() as display, StopSignal(display.stopping) as stop:
        simulation = Simulation(output, options, resume, display, stop)
        for label, potential in resolved.items():
            with tracker.child(label) as child:
                for protocol, systems in runs:
                    found = _one(simulation, label, potential, protocol, systems)
                    display.found(found.trajectories)
                    _track(child, found.trajectories)
                    trajectories += found.trajectories
                    orders += found.orders
                    notes += found.notes
    new, trajectories = trajectories, trajectories + earlier
    paths = write_results(output, content, options.threshold, trajectories, orders)
    for path in paths.values():
        if path.is_file():
            tracker.artifact(path)
    return DriftResult(
        rows=drift_rows(trajectories),
        order_rows=order_rows(orders),
        lines=verdict_lines(trajectories, options.threshold) + notes,
        paths=paths,
        trajectories=trajectories,
        orders=orders,
        failed=any(_fails(trajectory, options.max_drift) for trajectory in new),
    )


def _known(
    potential: Resolved, protocol: Protocol, systems: Sequence[System]
) -> tuple[list[System], list[System]]:
    """Which of the systems it was made for, and which not. What `lj` is of, the user says with structures."""
    elements = potential.elements
    if potential.text == "emt":
        elements = METALS
    elif potential.text == "lj":
        elements = None if protocol.name == OWN.name else (ARGON,)
    return known_systems(systems, elements)


def _one(
    simulation: Simulation, label: str, potential: Resolved, protocol: Protocol, systems: Sequence[System]
) -> _Found:
    """One potential on the systems of one protocol."""
    kept, left = _known(potential, protocol, systems)
    folder = simulation.output / file_name(label) / file_name(protocol.name)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        made = make_starts(potential, protocol, kept, folder / "starts.npz", lambda: simulation.stop.raised)
    except StoppedError:
        raise simulation.interrupted(f"while {label} relaxed its systems") from None
    failures = {
        s.name: Failure(0, start) for s, start in zip(kept, made, strict=True) if isinstance(start, str)
    }
    begun = [(s, start) for s, start in zip(kept, made, strict=True) if isinstance(start, Start)]
    failures |= simulation.run(label, potential, protocol, begun, folder)
    options = simulation.options
    found = []
    for system in kept:
        stem = folder / file_name(system.name)
        path = stem.with_name(stem.name + ".csv")
        failure = failures.get(system.name)
        trajectory = trajectory_of(label, protocol, system, path, failure, options.threshold)
        if options.jacobian and trajectory.series is not None:
            trajectory = replace(trajectory, asymmetry=asymmetries(potential, stem, options.jacobian))
        found.append(trajectory)
    orders = order_tests(simulation, label, potential, protocol, begun, folder) if options.order_test else []
    return _Found(found, orders, [_left_out(label, left)] if left else [])


def _left_out(label: str, systems: Sequence[System]) -> str:
    numbers = sorted({int(z) for system in systems for z in system.structure.numbers})
    names = ", ".join(system.name for system in systems)
    return f"{label}: left out {names}, not all of whose elements it knows ({_symbols(numbers)})"


def _symbols(numbers: Sequence[int]) -> str:
    return ", ".join(chemical_symbols[z] for z in numbers)


def _fails(trajectory: Trajectory, limit: float | None) -> bool:
    if trajectory.failure is not None or trajectory.drift is None:
        return True
    return limit is not None and not abs(trajectory.drift.slope) <= limit


def _track(tracker: Tracker, trajectories: Sequence[Trajectory]) -> None:
    """The curves, thinned to some hundred points, and the drifts."""
    for t in trajectories:
        if t.series is None or t.drift is None:
            continue
        every = slice(None, None, max(1, len(t.series) // 500))
        change = 1000 * (t.series.total - t.series.total[0]) / t.atoms
        for step, energy, kelvin in zip(
            t.series.step[every], change[every], t.series.temperature[every], strict=True
        ):
            values = {"energy_change_meV_per_atom": energy, "temperature_K": kelvin}
            tracker.metrics({f"{t.system}/{name}": float(value) for name, value in values.items()}, int(step))
        last = {"drift_meV_per_atom_ps": t.drift.slope, "drift_error_meV_per_atom_ps": t.drift.slope_error}
        tracker.metrics({f"{t.system}/{name}": value for name, value in last.items()}, int(t.series.step[-1]))
