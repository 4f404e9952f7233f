"""From what the user names to what is simulated, and how."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from esen.data.structure import Structure
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
        supercell: `2,2,2`, for structures from files.
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
            counts = _counts(supercell)
            systems = [replace(s, structure=repeated(s.structure, counts)) for s in systems]
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


def repeated(structure: Structure, counts: Sequence[int]) -> Structure:
    """A supercell.

    Raises:
        InputError: a direction that is no period is to be repeated.
    """
    for axis, (count, period) in enumerate(zip(counts, structure.pbc, strict=True)):
        if count > 1 and not period:
            raise InputError(f"{structure.source}: --supercell: lattice vector {axis + 1} is no period")
    shifts = np.array(list(np.ndindex(*counts)), dtype=np.float64) @ structure.cell
    return Structure(
        numbers=np.tile(structure.numbers, len(shifts)),
        positions=(shifts[:, None] + structure.positions[None]).reshape(-1, 3),
        cell=structure.cell * np.array(counts, dtype=np.float64)[:, None],
        pbc=structure.pbc,
        source=structure.source,
    )


def _told_apart(systems: Sequence[System]) -> list[System]:
    """Systems whose files are not the same."""
    names = distinct([system.name for system in systems])
    return [replace(system, name=name) for system, name in zip(systems, names, strict=True)]


def _counts(text: str) -> tuple[int, int, int]:
    parts = text.replace("x", ",").replace("×", ",").split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise InputError(f"--supercell {text!r}: expected three whole numbers, as in 2,2,2")
    a, b, c = (int(part) for part in parts)
    return a, b, c
