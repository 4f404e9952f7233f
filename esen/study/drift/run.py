"""`esen md-drift`: the whole test, from potentials and systems to files."""

import logging
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Unpack

from ase.data import chemical_symbols

from esen import __version__
from esen.errors import InputError, typed_line
from esen.files import StopSignal, locked, plain, read_json, write_atomically, write_json
from esen.md.protocols import Protocol
from esen.md.systems import System, known_systems
from esen.study.campaign import MANIFEST, CampaignResult, geometry_digest
from esen.study.drift.choice import USER_STRUCTURES, DriftOptions, Runs
from esen.study.drift.report import (
    OrderTest,
    Trajectory,
    by_potential,
    drift_table,
    earlier_trajectories,
    mean_drift,
    order_table,
    verdict_lines,
)
from esen.study.drift.simulation import Display, Simulation
from esen.study.plots.energies import energy_plot, order_plot
from esen.study.potentials import (
    PotentialOptions,
    PotentialSource,
    Resolved,
    potential_sources,
    resolve_all,
)
from esen.study.report import finish
from esen.study.table import write_result
from esen.track import Tracker

_log = logging.getLogger(__name__)

_FRAMES = 100
"""Number of frames per trajectory, if the user does not say how many steps lie between two."""
_CURVE_POINTS = 500
_STOPPING = "stopping after this step; repeat the signal to stop at once"
_CHANGEABLE = ("version", "duration_ps", "note", "frame_spacing")
"""Entries of the manifest that may change when a run is resumed."""


def run_drift(
    potentials: Sequence[str],
    runs: Runs,
    options: DriftOptions,
    *,
    output: Path,
    resume: bool,
    tracker: Tracker,
    beside: Sequence[Path] = (),
    **how: Unpack[PotentialOptions],
) -> CampaignResult:
    """Simulate every system with every potential, and decide whether the energy is conserved.

    Args:
        potentials: each as `resolve_potential` takes it.
        runs: protocols with their systems.
        options: of the test.
        output: folder for all files; new, or that of an interrupted test.
        resume: whether to continue the test in the folder. Only the duration may differ, and frames keep the spacing
            with which the test began.
        tracker: of the test; each potential has a run of its own.
        beside: folders of earlier tests that are shown beside this one.
        **how: options of `resolve_potential`; the default dtype of checkpoints is float64.

    Returns:
        The trajectories, those of earlier tests last. `failed` says whether a new one ended early or, with a limit of
        the user, is not shown to drift by no more than that.

    Raises:
        InputError: a potential or a structure cannot be used, or the folder holds another test.
        Interrupted: by the user; everything is saved.
    """
    resolved = resolve_all(potentials, how)
    for label, potential in resolved.items():
        if not any(_known(potential, protocol, systems)[0] for protocol, systems in runs):
            raise InputError(f"{label}: knows the elements of none of the systems; give other --structures")
    runs, notes = _comparable(resolved, runs)
    earlier: list[Trajectory] = []
    for folder in beside:
        taken = {*resolved, *(t.potential for t in earlier)}
        earlier += earlier_trajectories(folder, taken, options.threshold)
    sources = potential_sources(potentials, how)
    devices = {label: potential.device for label, potential in resolved.items()}
    manifest = _manifest(sources, devices, runs, options)
    if resume and not (output / MANIFEST).exists():
        raise InputError(f"{output}: holds no test to resume; leave out --resume")
    output.mkdir(parents=True, exist_ok=True)
    trajectories: list[Trajectory] = []
    orders: list[OrderTest] = []
    display = Display()
    with locked(output), display.bar, StopSignal(lambda: display.say(_STOPPING)) as stop:
        _claim(output, manifest, resume=resume)
        tracker.params(manifest)
        simulation = Simulation(output, options, resume, _frame_spacing(manifest), display, stop)
        for label, potential in resolved.items():
            for protocol, systems in runs:
                known, unknown = _known(potential, protocol, systems)
                found, tests = simulation.run(label, potential, protocol, known)
                _track(tracker.of(label), found)
                trajectories += found
                orders += tests
                notes += [_left_out(label, unknown)] if unknown else []
        failing = [t for t in trajectories if _fails(t, options.max_drift)]
        trajectories += earlier
        paths = _write(output, sources, manifest["settings"], trajectories, orders, notes, options)
        paths = finish(output, paths, tracker)
    return CampaignResult(
        tables=[drift_table(trajectories), *([order_table(orders)] if orders else [])],
        lines=verdict_lines(trajectories, options.threshold) + notes + _failures(failing, options.max_drift),
        paths=paths,
        records=by_potential(trajectories),
        failed=bool(failing),
    )


def _known(
    potential: Resolved, protocol: Protocol, systems: Sequence[System]
) -> tuple[list[System], list[System]]:
    """The systems that a potential knows, and the others. `lj` takes any structures that the user gives."""
    any_element = potential.text == "lj" and protocol.name == USER_STRUCTURES.name
    return known_systems(systems, None if any_element else potential.elements)


def _comparable(resolved: Mapping[str, Resolved], runs: Runs) -> tuple[Runs, list[str]]:
    """Reduce `quick` to the systems that all potentials know, if there are any, and return remarks about it."""
    if len(resolved) == 1:
        return runs, []
    common: Runs = []
    for protocol, systems in runs:
        mine = systems
        for potential in resolved.values():
            mine = _known(potential, protocol, mine)[0]
        common.append((protocol, mine))
    if not any(mine for _, mine in common):
        elements = [set(p.elements) for p in resolved.values() if p.elements is not None]
        shared = ", ".join(chemical_symbols[z] for z in sorted(set.intersection(*elements)))
        cure = f"give --structures of {shared}" if shared else "they have no element in common"
        _log.warning("no system is known to all potentials, so that rows do not compare; %s", cure)
        return runs, [f"no system is known to all potentials, so that rows do not compare; {cure}"]
    chosen, notes = [], []
    for (protocol, systems), (_, mine) in zip(runs, common, strict=True):
        reduced = protocol.name == "quick" and bool(mine) and len(mine) < len(systems)
        chosen.append((protocol, mine if reduced else systems))
        if reduced:
            names = ", ".join(system.name for system in systems if system not in mine)
            notes.append(
                f"left out {names}, because not all potentials know them; test each potential alone for more"
            )
    return chosen, notes


def _left_out(label: str, systems: Sequence[System]) -> str:
    numbers = sorted({int(z) for system in systems for z in system.structure.numbers})
    names = ", ".join(system.name for system in systems)
    symbols = ", ".join(chemical_symbols[z] for z in numbers)
    return f"{label}: left out {names}, because it does not know all of their elements ({symbols})"


def _fails(trajectory: Trajectory, limit: float | None) -> bool:
    """Whether a trajectory ended early, or was not shown to drift by no more than the limit."""
    return trajectory.verdict == "exploded" or (limit is not None and trajectory.verdict != "conserved")


def _failures(trajectories: Sequence[Trajectory], limit: float | None) -> list[str]:
    """Return the line that says which trajectories fail the user's limit."""
    if limit is None or not trajectories:
        return []
    named = ", ".join(f"{t.potential} {t.system} ({t.verdict})" for t in trajectories)
    return [f"--max-drift {limit:g} is not passed by {named}"]


def _track(tracker: Tracker, trajectories: Sequence[Trajectory]) -> None:
    """Track the numbers of each trajectory, and its energy and temperature against time, thinned."""
    table = drift_table(trajectories)
    for t in trajectories:
        change = 1000 * (t.series.total - t.series.total[:1]) / t.atoms
        for row in range(0, len(t.series), max(1, len(t.series) // _CURVE_POINTS)):
            curve = {
                f"energy_change_meV_per_atom/{t.system}": float(change[row]),
                f"temperature_K/{t.system}": float(t.series.temperature[row]),
            }
            tracker.metrics(curve, int(t.series.step[row]))
        metrics = {f"{key}/{t.system}": value for key, value in table.metrics(t).items()}
        tracker.metrics(metrics, 0)  # MLflow shows a metric of step 0 as a bar


def _write(
    output: Path,
    sources: Mapping[str, PotentialSource],
    settings: Mapping[str, Any],
    trajectories: Sequence[Trajectory],
    orders: Sequence[OrderTest],
    remarks: Sequence[str],
    options: DriftOptions,
) -> dict[str, Path]:
    """Write `result.json`, `drift.csv` and the figures, and return their paths by what they are."""
    table = drift_table(trajectories, output)
    result = write_result(
        output,
        "md-drift",
        potentials=sources,
        settings={**settings, "threshold_meV_per_atom_per_ps": options.threshold},
        table=table,
        mean_abs_drift={label: mean_drift(mine) for label, mine in by_potential(trajectories).items()},
        order_tests=order_table(orders),
        remarks=list(remarks),
    )
    paths = {"all numbers": result, "drifts": output / "drift.csv"}
    write_atomically(paths["drifts"], table.csv())
    protocols = dict.fromkeys(t.protocol for t in trajectories)
    for protocol in protocols if options.plots else ():
        what, name = ("", "") if len(protocols) == 1 else (f", {protocol}", f"-{protocol}")
        paths[f"energy against time{what}"] = output / f"energy{name}.png"
        energy_plot([t for t in trajectories if t.protocol == protocol], output / f"energy{name}.png")
    if orders and options.plots:
        paths["order of the integrator"] = output / "order.png"
        order_plot(orders, output / "order.png")
    return paths | {"energies, row by row": output}


def _manifest(
    sources: Mapping[str, PotentialSource], devices: Mapping[str, str], runs: Runs, options: DriftOptions
) -> dict[str, Any]:
    """Everything that the numbers depend on: potentials, protocols, systems and options."""
    chosen = {name: value for name, value in asdict(options).items() if name not in ("max_drift", "plots")}
    identified = {label: asdict(source) for label, source in sources.items()}
    protocols = {
        protocol.name: asdict(protocol)
        | {"frame_spacing": options.frame_every or max(1, protocol.steps // _FRAMES)}
        for protocol, _ in runs
    }
    systems = {
        f"{protocol.name}/{system.name}": {
            "atoms": len(system.structure),
            "temperature_kelvin": system.temperature_kelvin,
            "structure": geometry_digest(system.structure),
        }
        for protocol, systems in runs
        for system in systems
    }
    settings = {"protocols": protocols, "systems": systems, "options": chosen, "devices": devices}
    return dict(plain({"version": __version__, "potentials": identified, "settings": settings}))


def _frame_spacing(manifest: Mapping[str, Any]) -> dict[str, int]:
    return {name: kept["frame_spacing"] for name, kept in manifest["settings"]["protocols"].items()}


def _claim(output: Path, manifest: dict[str, Any], *, resume: bool) -> None:
    """Write the manifest. If the test is resumed, check that it is the same, and keep the spacing of its frames.

    Raises:
        InputError: the folder holds a test already, or another one.
        OSError: the folder cannot be written.
    """
    path = output / MANIFEST
    if resume:
        try:
            earlier = read_json(path, "begin a new test in another --output")
            spacings = _frame_spacing(earlier)
            difference = next(_differences(earlier, manifest), None)
            if difference is not None:
                raise InputError(
                    f"{output}: holds another test: {difference}; give the same, or another --output"
                )
            _refuse_shorter(output, earlier, manifest)
            for name, spacing in spacings.items():
                manifest["settings"]["protocols"][name]["frame_spacing"] = spacing
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}: not the manifest of a test by this version of esen ({typed_line(error)});"
                " begin a new test in another --output"
            ) from error
    elif path.exists():
        raise InputError(f"{output}: holds a test; resume it with --resume, or give another --output")
    write_json(path, manifest)


def _refuse_shorter(output: Path, earlier: Any, manifest: Any) -> None:
    """Refuse a duration that is shorter than that of the test that is resumed."""
    for name, protocol in manifest["settings"]["protocols"].items():
        before, now = earlier["settings"]["protocols"][name]["duration_ps"], protocol["duration_ps"]
        if now < before:
            raise InputError(
                f"--duration {now:g}: the test in {output} has {before:g} ps; give as much or more"
            )


def _differences(earlier: Any, now: Any, where: str = "") -> Iterator[str]:
    """Yield where two manifests differ."""
    if isinstance(earlier, dict) and isinstance(now, dict):
        for key in dict.fromkeys((*earlier, *now)):
            if key not in _CHANGEABLE:
                yield from _differences(earlier.get(key), now.get(key), f"{where}.{key}" if where else key)
    elif earlier != now:
        yield f"{where} was {reprlib.repr(earlier)}, is {reprlib.repr(now)}"
