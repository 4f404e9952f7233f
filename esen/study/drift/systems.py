"""From what the user names to what is simulated, and how."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from esen.data.supercells import parse_supercell, repeated
from esen.errors import InputError
from esen.md.protocols import Protocol, protocol_runs
from esen.md.systems import System, file_systems
from esen.study.drift.options import OWN, adapted
from esen.study.potentials import distinct

_KELVIN = 300.0


def choose_runs(
    structures: Sequence[str],
    protocol: str,
    *,
    data: Path | None,
    only: Sequence[str] | None,
    frames: str,
    supercell: str | None,
    temperature_kelvin: float | None,
    changes: Mapping[str, Any],
) -> list[tuple[Protocol, list[System]]]:
    """Protocols with their systems.

    Args:
        structures: files; none: the systems are those of the protocol.
        protocol: its name.
        data: folder with its files.
        only: names of its systems.
        frames: of each file, a Python slice.
        supercell: as `parse_supercell` reads it, for structures from files.
        temperature_kelvin: of the initial velocities; None: 300 K, or the protocol's.
        changes: as of `adapted`.

    Raises:
        InputError: anything of it cannot be used.
    """
    if temperature_kelvin is not None and not 0 <= temperature_kelvin < np.inf:
        raise InputError(f"--temperature {temperature_kelvin}: expected 0 or more, in K")
    if structures:
        kelvin = _KELVIN if temperature_kelvin is None else temperature_kelvin
        systems = file_systems(structures, frames, kelvin)
        if supercell is not None:
            matrix = parse_supercell(supercell)
            systems = [replace(s, structure=repeated(s.structure, matrix)) for s in systems]
        return [(adapted(OWN, **changes), _told_apart(systems))]
    if supercell is not None:
        raise InputError("--supercell: is for --structures; a protocol has its own systems")
    found = protocol_runs(protocol, data, only)
    runs = [(adapted(one, **changes), _told_apart(systems)) for one, systems in found]
    if temperature_kelvin is None:
        return runs
    note = f"NOT the protocol as published: at {temperature_kelvin:g} K; "
    return [
        (
            replace(one, note=note + one.note),
            [replace(s, temperature_kelvin=temperature_kelvin) for s in systems],
        )
        for one, systems in runs
    ]


def _told_apart(systems: Sequence[System]) -> list[System]:
    """Systems whose files are not the same."""
    names = distinct([system.name for system in systems])
    return [replace(system, name=name) for system, name in zip(systems, names, strict=True)]
