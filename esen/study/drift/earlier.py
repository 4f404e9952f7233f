"""Trajectories of earlier tests, beside new ones in one table and one plot: potentials of several environments."""

import json
from collections.abc import Collection
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from esen.errors import InputError
from esen.md.drift import Drift, verdict_of
from esen.md.engine import Failure
from esen.md.files import read_series
from esen.md.protocols import Protocol, Relaxation
from esen.study.drift.result import Trajectory


def earlier_trajectories(folder: Path, taken: Collection[str], threshold: float) -> list[Trajectory]:
    """What a test in `folder` found, its potentials named so that none is in `taken`.

    Args:
        folder: of a finished test.
        taken: names of other potentials.
        threshold: of the verdicts, in meV/atom/ps.

    Raises:
        InputError: the folder holds no finished test, or its files are damaged.
    """
    path = folder / "result.json"
    if not path.is_file():
        raise InputError(f"--with {folder}: holds no finished test (no result.json)")
    try:
        content = json.loads(path.read_text())
        protocols = {p["name"]: _protocol(p) for p in content["protocols"]}
        found = [_trajectory(t, protocols, folder, threshold) for t in content["trajectories"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not what esen md-drift writes ({error!r})") from error
    names: dict[str, str] = {}
    for name in dict.fromkeys(t.potential for t in found):
        names[name], number = name, 1
        while names[name] in taken:
            number += 1
            names[name] = f"{name}-{number}"
    return [replace(t, potential=names[t.potential]) for t in found]


def _protocol(content: dict[str, Any]) -> Protocol:
    relaxation = content["relaxation"]
    return Protocol(**{**content, "relaxation": None if relaxation is None else Relaxation(**relaxation)})


def _trajectory(
    content: dict[str, Any], protocols: dict[str, Protocol], folder: Path, threshold: float
) -> Trajectory:
    failure = content["failure"] and Failure(content["failure"]["step"], content["failure"]["reason"])
    numbers = content["drift"]
    drift = None
    if numbers is not None:
        values = {field.name: numbers[field.name] for field in fields(Drift)}
        known: dict[str, Any] = {
            name: float("nan") if value is None else value for name, value in values.items()
        }
        drift = Drift(**known)
    path = folder / content["energies"]
    return Trajectory(
        potential=content["potential"],
        protocol=protocols[content["protocol"]],
        system=content["system"],
        formula=content["formula"],
        atoms=content["atoms"],
        temperature_kelvin=content["temperature_kelvin"],
        series=read_series(path, content["atoms"]) if path.is_file() else None,
        drift=drift,
        verdict="exploded" if drift is None else verdict_of(drift, threshold, exploded=failure is not None),
        failure=failure,
        path=path,
        asymmetry=tuple(float("nan") if value is None else value for value in content["jacobian_asymmetry"]),
    )
