"""From the energies of trajectories to what is said of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula

from esen.data.atoms import from_atoms
from esen.evaluate.laws.run import check_laws
from esen.evaluate.laws.subject import Subject
from esen.md.drift import Series, fluctuation_order, measure_drift, verdict_of
from esen.md.engine import Failure
from esen.md.files import read_series
from esen.md.protocols import Protocol
from esen.md.systems import System
from esen.study.drift.result import OrderTest, Trajectory
from esen.study.drift.simulation import Begun, Simulation
from esen.study.potentials import Resolved, file_name

ORDER_PS = 1.0
"""Of the order test: longer, and trajectories at different timesteps are not the same any more."""


def trajectory_of(
    label: str,
    protocol: Protocol,
    system: System,
    path: Path,
    failure: Failure | None,
    threshold: float,
) -> Trajectory:
    """The trajectory in a file of energies, measured; if it failed and there is no file, it never began.

    Raises:
        InputError: the file is missing, or damaged.
    """
    atoms = len(system.structure)
    series = read_series(path, atoms) if path.exists() or failure is None else None
    drift = measure_drift(series) if series is not None and len(series) else None
    exploded = failure is not None or drift is None
    return Trajectory(
        potential=label,
        protocol=protocol,
        system=system.name,
        formula=Formula.from_list(list(_symbols(system))).format("hill"),
        atoms=atoms,
        temperature_kelvin=system.temperature_kelvin,
        series=series,
        drift=drift,
        verdict="exploded" if drift is None else verdict_of(drift, threshold, exploded=exploded),
        failure=failure,
        path=path,
    )


def _symbols(system: System) -> Sequence[str]:
    return [chemical_symbols[z] for z in system.structure.numbers]


def asymmetries(potential: Resolved, stem: Path, places: int) -> tuple[float, ...]:
    """λ = ‖J − Jᵀ‖ / 2‖J‖ of the forces at frames evenly along a trajectory, the last among them (law `curl`)."""
    paths = [stem.with_name(stem.name + suffix) for suffix in (".extxyz", ".traj")]
    frames = [frame for path in paths if path.exists() for frame in ase.io.read(path, index=":")]
    if not frames:
        return ()
    chosen = np.unique(np.linspace(0, len(frames) - 1, places + 1).round().astype(int)[1:])
    subject = Subject(
        potential.potential,
        potential.device,
        differentiable=potential.differentiable,
        stateful=potential.calculator is not None,
    )
    report = check_laws(
        subject, [from_atoms(frames[i], f"{stem.name}, frame {i}") for i in chosen], ["curl"], seed=0
    )
    return tuple(finding.value for finding in report.findings if finding.law == "curl")


def order_tests(
    simulation: Simulation, label: str, potential: Resolved, protocol: Protocol, begun: Begun, folder: Path
) -> list[OrderTest]:
    """Each system from the same start at Δt, Δt/2, Δt/4, …, with rows at the same times."""
    duration = min(ORDER_PS, protocol.duration_ps)
    timesteps = [protocol.timestep_fs / 2**k for k in range(simulation.options.order_test)]
    series: dict[str, list[Series]] = {system.name: [] for system, _ in begun}
    for k, timestep in enumerate(timesteps):
        finer = replace(protocol, timestep_fs=timestep, duration_ps=duration, record_every=2**k)
        place = folder / f"order-{timestep:g}fs"
        place.mkdir(exist_ok=True)
        simulation.without_frames().run(f"{label}, Δt {timestep:g} fs", potential, finer, begun, place)
        for system, _ in begun:
            path = place / f"{file_name(system.name)}.csv"
            series[system.name].append(read_series(path, len(system.structure)))
    return [order_of(label, name, timesteps, found) for name, found in series.items()]


def order_of(label: str, system: str, timesteps: Sequence[float], found: Sequence[Series]) -> OrderTest:
    """How the fluctuation falls with the timestep; NaN where a trajectory ended early or nothing fluctuates."""
    spread = [1000 * float(s.total.std()) / np.sqrt(s.atoms) if len(s) > 1 else np.nan for s in found]
    whole = len({len(s) for s in found}) == 1
    order, between = np.nan, np.full(len(timesteps) - 1, np.nan)
    if whole and all(np.isfinite(value) and value > 0 for value in spread):
        order, between = fluctuation_order(timesteps, spread)
    duration = float(found[0].time_ps[-1]) if len(found[0]) else 0.0
    return OrderTest(label, system, tuple(timesteps), tuple(spread), order, tuple(between.tolist()), duration)
