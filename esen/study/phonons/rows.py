"""Records as rows of tables and as words."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from esen.evaluate.phonons.protocol import PROTOCOLS, PhononProtocol
from esen.study.phonons.record import QUANTITIES, Record

Row = dict[str, str | None]


def mean_errors(records: Sequence[Record]) -> dict[str, float]:
    """Mean absolute errors over the crystals that have a value and a reference."""
    found = {}
    for quantity in QUANTITIES:
        errors = [abs(record.error(quantity)) for record in records]
        finite = [error for error in errors if np.isfinite(error)]
        found[quantity] = float(np.mean(finite)) if finite else float("nan")
    return found


def error_rows(records: Mapping[str, Sequence[Record]]) -> list[Row]:
    """MAE(ω_max), MAE(S), MAE(F), MAE(C_V) as the paper's Table 4, a row a potential; those without references not."""
    rows: list[Row] = []
    for label, mine in records.items():
        errors = mean_errors(mine)
        if not any(np.isfinite(value) for value in errors.values()):
            continue
        counted = sum(any(np.isfinite(record.error(q)) for q in QUANTITIES) for record in mine)
        row: Row = {"potential": label, "crystals": f"{counted} of {len(mine)}"}
        names = {"max_frequency": "ω_max", "entropy": "S", "free_energy": "F", "heat_capacity": "C_V"}
        for quantity, unit in QUANTITIES.items():
            mean = errors[quantity]
            row[f"MAE({names[quantity]}) {unit}"] = f"{mean:.3g}" if np.isfinite(mean) else None
        row["failed"] = str(sum(bool(record.failure) for record in mine))
        row["imaginary"] = str(sum(record.imaginary > 0 for record in mine))
        rows.append(row)
    return rows


def row_of(label: str, record: Record) -> Row:
    """A crystal of a potential, for the table."""
    v = record.values
    verdict = (
        "failed" if record.failure else "stable" if not record.imaginary else f"{record.imaginary} imaginary"
    )
    group = None if record.groups is None else "→".join(map(str, dict.fromkeys(record.groups)))
    return {
        "potential": label,
        "crystal": record.name,
        "atoms": None if record.failure else f"{record.atoms} ({record.supercell_atoms})",
        "group": group,
        "ω_max (K)": f"{v['max_frequency']:.1f}" if v else None,
        "true ω_max (K)": f"{record.max_commensurate:.1f}" if v else None,
        "S": f"{v['entropy']:.3f}" if v else None,
        "F": f"{v['free_energy']:.3f}" if v else None,
        "C_V": f"{v['heat_capacity']:.3f}" if v else None,
        "lowest (THz)": f"{record.lowest:.3f}" if v else None,
        "verdict": verdict,
    }


def lines_of(records: Mapping[str, Sequence[Record]], protocol: PhononProtocol) -> list[str]:
    """What is to be known: units, whose protocol it was, and what went wrong."""
    lines = [
        "per primitive cell at 300 K: S, C_V in J/K/mol, F in kJ/mol; ω_max as the MDR benchmark takes it (its"
        " commensurate points are read in the primitive basis), true ω_max at those of the supercell",
        f"protocol {protocol.name}: {protocol.source}",
    ]
    published = asdict(PROTOCOLS.get(protocol.name, protocol))
    changed = [f"{key} {value}" for key, value in asdict(protocol).items() if value != published[key]]
    if changed:
        lines.append(f"{protocol.name}: NOT the protocol as it is: {', '.join(changed)}")
    for label, mine in records.items():
        for record in mine:
            if record.failure:
                lines.append(f"{label}, {record.name}: {record.failure}")
            elif record.converged is False:
                lines.append(f"{label}, {record.name}: the relaxation did not come to its end")
    return lines
