"""Records as rows of tables and as words."""

from collections.abc import Mapping, Sequence

import numpy as np

from esen.evaluate.phonons.protocol import PROTOCOLS, THZ_TO_KELVIN, PhononProtocol
from esen.study.materials.words import protocol_lines, remark_lines
from esen.study.phonons.record import QUANTITIES, SYMBOLS, Record

Row = dict[str, str | None]
Studies = dict[str, list[tuple[float, Record]]]
"""By potential: displacements in Å, with what was found at them."""


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
        for quantity, unit in QUANTITIES.items():
            mean = errors[quantity]
            row[f"MAE({SYMBOLS[quantity]}) {unit}"] = f"{mean:.3g}" if np.isfinite(mean) else None
        row["failed"] = str(sum(bool(record.failure) for record in mine))
        row["imaginary"] = str(sum(record.imaginary > 0 for record in mine))
        rows.append(row)
    return rows


def convergence_rows(studies: Mapping[str, Studies]) -> list[Row]:
    """True ω_max at each displacement in THz, and how far it runs, a row a crystal and potential."""
    rows: list[Row] = []
    for name, of_potentials in studies.items():
        for label, study in of_potentials.items():
            found = {size: record.max_commensurate / THZ_TO_KELVIN for size, record in study}
            values = np.array(list(found.values()))
            row: Row = {"ω_max (THz) of": f"{label}, {name}" if len(studies) > 1 else label}
            row |= {f"{size:g} Å": f"{x:.3f}" if np.isfinite(x) else None for size, x in found.items()}
            run = 100 * (values.max() - values.min()) / values[0]
            rows.append(row | {"range": f"{run:.2f} %" if np.isfinite(run) else None})
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
        "RMSE (THz)": f"{record.rmse:.3f}" if np.isfinite(record.rmse) else None,
        "verdict": verdict,
    }


def lines_of(records: Mapping[str, Sequence[Record]], protocol: PhononProtocol) -> list[str]:
    """What is to be known: units, whose protocol it was, and what went wrong."""
    lines = [
        "per primitive cell at 300 K: S, C_V in J/K/mol, F in kJ/mol; ω_max as the MDR benchmark takes it (its"
        " commensurate points are read in the primitive basis), true ω_max at those of the supercell",
        *protocol_lines(protocol, PROTOCOLS),
    ]
    for label, mine in records.items():
        remarks = []
        for record in mine:
            words = [record.failure] if record.failure else list(record.notes)
            if not record.failure and record.converged is False:
                words.append("the relaxation did not come to its end")
            remarks += [(record.name, one) for one in words]
        lines += remark_lines(label, remarks)
    return lines
