"""The files of a run: tables, and what the numbers depend on."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from esen.errors import InputError
from esen.evaluate.phonons.protocol import PhononProtocol
from esen.evaluate.phonons.run import Phonons
from esen.models.checkpoint import write_atomically
from esen.study.phonons.record import QUANTITIES, Record
from esen.study.phonons.rows import mean_errors

MANIFEST = "manifest.json"


def claim(output: Path, manifest: dict[str, dict[str, Any]]) -> None:
    """Write what the numbers depend on, together with that of an earlier call of the same folder.

    Args:
        output: the folder, which is made.
        manifest: `settings`, which are of the folder; `potentials` and `crystals`, by name, which may be added.

    Raises:
        InputError: the folder has records of something else.
    """
    output.mkdir(parents=True, exist_ok=True)
    path = output / MANIFEST
    new = json.loads(json.dumps(manifest))  # tuples as lists
    if path.exists():
        try:
            old = json.loads(path.read_text())
            for part, content in new.items():
                _refuse_another(output, part, old[part], content)
                content.update(old[part] | content)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: not a manifest of esen phonons ({error!r})") from error
    write_atomically(path, json.dumps(new, indent=1, ensure_ascii=False).encode() + b"\n")


def _refuse_another(output: Path, part: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    for key in old.keys() & new.keys():
        if old[key] != new[key]:
            raise InputError(
                f"--output {output}: was computed with {part}: {key} {old[key]}, now {new[key]}; give another folder"
            )


def write_tables(
    output: Path, protocol: PhononProtocol, records: Mapping[str, Sequence[Record]]
) -> dict[str, Path]:
    """`phonons.csv` and `result.json`; gives their paths."""
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    head = ["potential", "crystal", "formula", "atoms", "supercell_atoms"]
    for quantity, unit in QUANTITIES.items():
        head += [f"{quantity} ({unit})", f"{quantity} reference"]
    writer.writerow([*head, "true_max_frequency (K)", "lowest (THz)", "imaginary", "converged", "failure"])
    for label, mine in records.items():
        for r in mine:
            numbers: list[object] = []
            for quantity in QUANTITIES:
                numbers += [
                    r.values.get(quantity, ""),
                    "" if r.known[quantity] is None else r.known[quantity],
                ]
            about = [label, r.name, r.formula, r.atoms, r.supercell_atoms]
            ends = [r.max_commensurate, r.lowest, r.imaginary, r.converged, r.failure]
            writer.writerow([*about, *numbers, *ends])
    content = {
        "protocol": asdict(protocol),
        "mean_absolute_errors": {
            label: {k: v for k, v in mean_errors(mine).items() if np.isfinite(v)}
            for label, mine in records.items()
        },
        "units": QUANTITIES,
    }
    paths = {"crystal by crystal": output / "phonons.csv", "protocol and errors": output / "result.json"}
    write_atomically(paths["crystal by crystal"], table.getvalue().encode())
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(paths["protocol and errors"], text.encode() + b"\n")
    return paths


def write_thermal(path: Path, phonons: Phonons) -> None:
    """F, S and C_V at all temperatures."""
    t = phonons.properties.thermal
    lines = ["temperature_K,free_energy_kJ_mol,entropy_J_K_mol,heat_capacity_J_K_mol"]
    for row in zip(t.temperatures, t.free_energy, t.entropy, t.heat_capacity, strict=True):
        lines.append(",".join(f"{value:.9g}" for value in row))
    write_atomically(path, ("\n".join(lines) + "\n").encode())
