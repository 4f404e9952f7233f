"""Results written by hand, as the commands write them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

UNITS = {"energy_mae": "meV/atom", "forces_mae": "meV/Å", "stress_mae": "meV/Å³", "slope": "meV/atom/ps"}
LESS = {"energy_mae", "forces_mae", "stress_mae", "wander"}


def write_result(
    folder: Path,
    command: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    label: str = "potential",
    units: Mapping[str, str] = UNITS,
    settings: Mapping[str, Any] | None = None,
    **source: Any,
) -> Path:
    """Write the `result.json` of one potential."""
    names = dict.fromkeys(name for row in rows for name in row)
    known = {"label": label, "given": label, "arguments": [], "dtype": None, "path": None, "sha256": None}
    content = {
        "command": command,
        "version": "0",
        "potentials": {label: known | source},
        "settings": settings or {},
        "columns": [
            {
                "name": name,
                "symbol": name,
                "unit": units.get(name, ""),
                "better": "less" if name in LESS else None,
            }
            for name in names
        ],
        "rows": [dict(row) for row in rows],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "result.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_cell(
    study: Path,
    variant: str,
    seed: int,
    command: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    test: str = "",
    system: str = "",
    folder: str = "",
    **options: Any,
) -> Path:
    """Write a cell of a study with its result, and return the result's path."""
    place = study / system / (folder or variant) / f"seed-{seed}" / (test or command)
    path = write_result(place, command, rows, label="train", **options)
    cell = {
        "study": "by hand",
        "system": system,
        "variant": variant,
        "seed": seed,
        "test": test or command,
        "command": command,
        "argv": [],
        "state": "done",
        "failure": None,
        "exit_code": 0,
        "seconds": 1.0,
    }
    (place / "cell.json").write_text(json.dumps(cell), encoding="utf-8")
    return path


def errors(
    energy: float | None, forces: float | None = None, stress: float | None = None
) -> list[dict[str, Any]]:
    """Rows of `esen mae`."""
    row = {"energy_mae": energy, "forces_mae": forces, "stress_mae": stress}
    overall = {"potential": "train", "kind": "all", "name": "all"} | row
    return [overall, overall | {"kind": "element", "name": "Mg", "energy_mae": 1e9}]


def trajectory(
    slope: float | None, system: str = "mgo", verdict: str = "conserved", **more: Any
) -> dict[str, Any]:
    """A row of `esen md-drift`."""
    error = None if slope is None else 0.001
    row = {"potential": "train", "protocol": "structures", "system": system, "slope": slope}
    return row | {"slope_error": error, "wander": 0.5, "verdict": verdict} | more
