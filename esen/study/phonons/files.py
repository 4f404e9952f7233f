"""The tables of a run."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from esen.evaluate.phonons.protocol import PhononProtocol
from esen.evaluate.phonons.run import Phonons
from esen.files import write_atomically
from esen.study.phonons.record import QUANTITIES, Record
from esen.study.phonons.rows import mean_errors


def write_tables(
    output: Path, protocol: PhononProtocol, records: Mapping[str, Sequence[Record]]
) -> dict[str, Path]:
    """`phonons.csv` and `result.json`; gives their paths."""
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    head = ["potential", "crystal", "formula", "atoms", "supercell_atoms"]
    for quantity, unit in QUANTITIES.items():
        head += [f"{quantity} ({unit})", f"{quantity} reference"]
    head += [
        "true_max_frequency (K)",
        "max_frequency on the mesh (THz)",
        "frequency RMSE (THz)",
        "lowest (THz)",
    ]
    writer.writerow([*head, "lowest at", "imaginary", "converged", "notes", "failure"])
    for label, mine in records.items():
        for r in mine:
            numbers: list[object] = []
            for quantity in QUANTITIES:
                numbers += [
                    r.values.get(quantity, ""),
                    "" if r.known[quantity] is None else r.known[quantity],
                ]
            about = [label, r.name, r.formula, r.atoms, r.supercell_atoms]
            ends: list[object] = [
                r.max_commensurate,
                r.max_mesh,
                "" if np.isnan(r.rmse) else r.rmse,
                r.lowest,
            ]
            ends += [" ".join(f"{x:.4g}" for x in r.lowest_at), r.imaginary, r.converged]
            ends += ["; ".join(r.notes), r.failure]
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
