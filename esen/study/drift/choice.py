"""What the user chooses: options of the test, and protocols with their systems."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from esen.data.supercells import parse_supercell, repeated
from esen.errors import InputError
from esen.md.files import TrajectoryFormat
from esen.md.protocols import PROTOCOLS, Protocol, protocol_runs
from esen.md.systems import System, file_systems
from esen.study.campaign import change_in_words
from esen.study.potentials import distinct

Runs = list[tuple[Protocol, list[System]]]

THRESHOLD = 0.01
"""Default threshold of the verdicts, in meV/atom/ps."""

USER_STRUCTURES = replace(
    PROTOCOLS["quick"],
    name="structures",
    duration_ps=10.0,
    source="esen",
    note="the user's structures, as they are",
)
"""Protocol for structures from the user's files."""

_DEFAULT_KELVIN = 300.0
_OPTION_OF = {
    "timestep_fs": "--timestep",
    "duration_ps": "--duration",
    "record_every": "--record-every",
}


@dataclass(frozen=True)
class DriftOptions:
    """Options of a test that do not depend on the potential.

    Attributes:
        max_drift: |slope| + error in meV/atom/ps above which the test fails, also where it is undecided; None lets it
            fail only if a trajectory ends early.
        order_test: number of timesteps that are compared, each half of the one before; 0 leaves out the test.
        jacobian: number of frames per trajectory at which the asymmetry of the forces' Jacobian is measured.
        trajectory: format in which frames are kept; None keeps none.
        frame_every: number of steps between two frames; None keeps about 100 frames.
        batch_atoms: largest number of atoms that are simulated in one batch.
        skin: skin of the neighbour list, in Å.
        plots: whether figures are drawn.
    """

    max_drift: float | None = None
    order_test: int = 0
    jacobian: int = 0
    trajectory: TrajectoryFormat | None = None
    frame_every: int | None = None
    batch_atoms: int = 1024
    skin: float = 0.5
    plots: bool = True

    def __post_init__(self) -> None:
        for name in ("max_drift", "frame_every", "batch_atoms", "skin"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"--{name.replace('_', '-')} {value}: expected a number above 0")
        if self.order_test == 1:
            raise InputError("--order-test 1: one timestep shows no order; expected 2 or more")

    @property
    def frame_format(self) -> TrajectoryFormat | None:
        """Format of the frames that are written; λ needs frames, whether or not the user asked for them."""
        return self.trajectory or ("extxyz" if self.jacobian else None)

    @property
    def threshold(self) -> float:
        """Threshold of the verdicts, in meV/atom/ps."""
        return THRESHOLD if self.max_drift is None else self.max_drift


def choose_runs(
    structures: Sequence[str],
    protocol: str,
    *,
    data: Path | None = None,
    only: Sequence[str] | None = None,
    frames: str = ":1",
    supercell: str | None = None,
    temperature_kelvin: float | None = None,
    changes: Mapping[str, Any],
) -> Runs:
    """Return the protocols to run with their systems.

    Args:
        structures: structure files; if there are none, the protocol's own systems are simulated.
        protocol: name of the protocol, without structures.
        data: folder with the published files of the protocol.
        only: names of the protocol's systems to take; None takes all.
        frames: Python slice of the frames of each file.
        supercell: as `parse_supercell` reads it, for structures from files.
        temperature_kelvin: temperature of the initial velocities; None takes the protocol's, or 300 K for structures.
        changes: as in `changed_protocol`.

    Raises:
        InputError: an argument or a file cannot be used.
    """
    if temperature_kelvin is not None and not 0 <= temperature_kelvin < np.inf:
        raise InputError(f"--temperature {temperature_kelvin}: expected 0 or more, in K")
    if structures:
        kelvin = _DEFAULT_KELVIN if temperature_kelvin is None else temperature_kelvin
        systems = file_systems(structures, frames, kelvin)
        if supercell is not None:
            matrix = parse_supercell(supercell)
            systems = [replace(s, structure=repeated(s.structure, matrix)) for s in systems]
        return [(changed_protocol(USER_STRUCTURES, changes), _distinct(systems))]
    if supercell is not None:
        raise InputError("--supercell: is for --structures; a protocol has its own systems")
    runs = []
    for published, systems in protocol_runs(protocol, data, only):
        changed, chosen = changed_protocol(published, changes), systems
        if temperature_kelvin is not None:
            changed = _marked(changed, f"at {temperature_kelvin:g} K")
            chosen = [replace(system, temperature_kelvin=temperature_kelvin) for system in systems]
        runs.append((changed, _distinct(chosen)))
    return runs


def changed_protocol(protocol: Protocol, changes: Mapping[str, Any]) -> Protocol:
    """Return a protocol with the user's changes, which its note then lists.

    Args:
        protocol: the protocol.
        changes: `timestep_fs`, `duration_ps`, `record_every`, `seed` and `relax`; None keeps the protocol's.

    Raises:
        InputError: a number is not above 0, or the duration is shorter than one step.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    relaxes = protocol.relaxation is not None
    if given.pop("relax", relaxes) != relaxes:
        given["relaxation"] = None if relaxes else PROTOCOLS["tm23"].relaxation
    given = {name: value for name, value in given.items() if value != getattr(protocol, name)}
    for name, option in _OPTION_OF.items():
        if name in given and not 0 < given[name] < float("inf"):
            raise InputError(f"{option} {given[name]}: expected a number above 0")
    changed = replace(protocol, **given)
    if changed.steps < 1:
        raise InputError(
            f"--duration {changed.duration_ps}: less than one step of {changed.timestep_fs} fs; give more"
        )
    if not given or protocol.name == USER_STRUCTURES.name:
        return changed
    if "relaxation" in given:
        given["relaxation"] = not relaxes
    return _marked(changed, ", ".join(change_in_words(name, value) for name, value in given.items()))


def _marked(protocol: Protocol, change: str) -> Protocol:
    return replace(protocol, note=f"NOT the protocol as published: {change}; {protocol.note}")


def _distinct(systems: Sequence[System]) -> list[System]:
    """Rename systems that would be written to the same file."""
    names = distinct([system.name for system in systems])
    return [replace(system, name=name) for system, name in zip(systems, names, strict=True)]
