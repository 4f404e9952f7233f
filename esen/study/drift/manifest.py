"""What a test is of, kept in its folder, so that nothing else is continued by mistake."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from esen import __version__
from esen.data.structure import Structure
from esen.errors import InputError
from esen.files import write_atomically
from esen.md.calculator import find_weights
from esen.md.protocols import Protocol
from esen.md.systems import System
from esen.study.drift.options import DriftOptions
from esen.study.drift.result import plain
from esen.study.potentials import Resolved, is_checkpoint

NAME = "manifest.json"
_FREE = ("duration_ps", "note")
"""Of a protocol: may be another when a test goes on."""

Runs = list[tuple[Protocol, list[System]]]


def begin_or_go_on(output: Path, now: Mapping[str, Any], *, resume: bool) -> None:
    """Write what the test is of; or, to go on, check that it is the same. A longer duration may be asked for.

    Args:
        output: folder of the test.
        now: its `manifest`.
        resume: whether it goes on.

    Raises:
        InputError: the folder holds a test already, or none, or another one; names what differs.
        OSError: the folder cannot be written.
    """
    path = output / NAME
    if not resume:
        if path.exists():
            raise InputError(f"{output}: holds a test; go on with --resume, or give another --output")
        output.mkdir(parents=True, exist_ok=True)
    else:
        _must_match(_read(path, output), now, output)
    write_atomically(path, json.dumps(now, indent=1, ensure_ascii=False).encode() + b"\n")


def manifest(
    potentials: Mapping[str, Resolved], runs: Runs, options: DriftOptions, calculator_args: Sequence[str]
) -> dict[str, Any]:
    """Everything that the numbers depend on."""
    chosen = asdict(options)
    del chosen["max_drift"]
    return dict(
        plain(
            {
                "esen": __version__,
                "potentials": {label: _potential(potential) for label, potential in potentials.items()},
                "calculator_args": list(calculator_args),
                "protocols": [asdict(protocol) for protocol, _ in runs],
                "systems": [
                    {
                        "protocol": protocol.name,
                        "name": system.name,
                        "atoms": len(system.structure),
                        "temperature_kelvin": system.temperature_kelvin,
                        "structure": _digest(system.structure),
                    }
                    for protocol, systems in runs
                    for system in systems
                ],
                "options": chosen,
            }
        )
    )


def _potential(potential: Resolved) -> dict[str, str | None]:
    weights = None
    if is_checkpoint(potential.text):
        weights = hashlib.sha256(find_weights(Path(potential.text)).read_bytes()).hexdigest()
    return {
        "given": potential.text,
        "precision": potential.precision,
        "device": potential.device,
        "sha256": weights,
    }


def _digest(structure: Structure) -> str:
    made = hashlib.blake2b(digest_size=16)
    for array in (structure.numbers, structure.positions, structure.cell, structure.pbc):
        made.update(array.tobytes())
    return made.hexdigest()


def _read(path: Path, output: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{output}: holds no test to go on with; leave out --resume") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); begin anew") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: not the manifest of a test; begin anew")
    return content


def _must_match(before: Mapping[str, Any], now: Mapping[str, Any], output: Path) -> None:
    for key in ("potentials", "calculator_args", "protocols", "systems", "options"):
        old, new = (_fixed(content.get(key)) for content in (before, now))
        if old != new:
            raise InputError(
                f"{output}: holds a test of other {key}: {_difference(old, new)}; give the same, or another --output"
            )


def _fixed(value: Any) -> Any:
    if isinstance(value, list):
        return [_fixed(item) for item in value]
    if isinstance(value, dict):
        return {key: _fixed(item) for key, item in value.items() if key not in _FREE}
    return value


def _difference(old: Any, new: Any, where: str = "") -> str:
    """The first place where they differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            if old.get(key) != new.get(key):
                return _difference(old.get(key), new.get(key), f"{where}.{key}" if where else key)
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (a, b) in enumerate(zip(old, new, strict=True)):
            if a != b:
                return _difference(a, b, f"{where}[{number}]")
    if isinstance(old, list) and isinstance(new, list):
        return f"{len(old)} before, {len(new)} now"
    return f"{where or 'it'} was {old!r}, is {new!r}"
