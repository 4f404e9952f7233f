"""Records as rows of tables and as words."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from esen.evaluate.conductivity.protocol import PROTOCOLS, ConductivityProtocol
from esen.study.conductivity.record import KAPPAS, Record
from esen.study.conductivity.scores import FORCE_SETS, References, summary_of
from esen.study.materials.words import first_few, protocol_lines, remark_lines

Row = dict[str, str | None]


def rows_of(label: str, record: Record, protocol: ConductivityProtocol) -> list[Row]:
    """A material of a potential, for the table: a row a temperature, or one where there is no conductivity."""
    temperatures = record.temperatures or (record.reference_kelvin,)
    rows = []
    for kelvin in temperatures:
        compared = np.isclose(kelvin, record.reference_kelvin)
        row: Row = {
            "potential": label,
            "material": f"{record.name} {record.label}"
            if record.label not in ("", record.name)
            else record.name,
            "group": "→".join(map(str, dict.fromkeys(record.groups))) or None,
            "mesh": "×".join(map(str, record.mesh)) or None,
        }
        if len(protocol.temperatures) > 1:
            row["T (K)"] = f"{kelvin:g}" if record.temperatures else None
        row |= {symbol: _number(record.kappa(name, kelvin)) for name, symbol in KAPPAS.items()}
        row["reference"] = _number(record.reference_kappa) if compared else None
        row["SRE"] = _number(record.sre, ".3f") if compared else None
        row["SRME"] = _number(record.srme, ".3f") if compared else None
        rows.append(row | {"verdict": record.verdict})
    return rows


def summaries(records: Mapping[str, Sequence[Record]]) -> dict[str, dict[str, Any]]:
    """By potential: means over the materials that have a reference, and rates over these, or over all if none has."""
    found: dict[str, dict[str, Any]] = {}
    for label, mine in records.items():
        summary = summary_of(mine)
        if summary is None:
            found[label] = {
                "materials": len(mine),
                "compared": 0,
                "failure_rate": float(np.mean([record.verdict != "ok" for record in mine])),
                "imaginary_rate": float(np.mean([record.imaginary > 0 for record in mine])),
            }
        else:
            means = asdict(summary)
            compared = means.pop("materials")
            found[label] = {"materials": len(mine), "compared": compared, **means}
        found[label]["verdicts"] = verdicts(mine)
    return found


def verdicts(records: Sequence[Record]) -> dict[str, int]:
    """How many materials have each."""
    every = [record.verdict for record in records]
    return {name: every.count(name) for name in dict.fromkeys(("ok", *every))}


def summary_rows(found: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """A row a potential."""
    rows: list[Row] = []
    for label, one in found.items():
        row: Row = {"potential": label, "materials": str(one["materials"]), "compared": str(one["compared"])}
        for key, title in (("srme", "κ_SRME"), ("sre", "κ_SRE"), ("srd", "κ_SRD")):
            row[title] = _number(one.get(key), ".3f")
        row["spectrum (THz)"] = _number(one.get("spectrum"), ".3f")
        row["failure rate"] = f"{100 * one['failure_rate']:.1f} %"
        row["imaginary rate"] = f"{100 * one['imaginary_rate']:.1f} %"
        rows.append(row | {"verdicts": ", ".join(f"{n} {name}" for name, n in one["verdicts"].items())})
    return rows


def lines_of(
    records: Mapping[str, Sequence[Record]], protocol: ConductivityProtocol, references: References
) -> list[str]:
    """What is to be known: units, whose protocol it was, what it is compared with, and what went wrong."""
    at = " K, ".join(f"{kelvin:g}" for kelvin in protocol.temperatures)
    lines = [
        f"W/m/K at {at} K, trace / 3: κ = κ_P (particles) + κ_C (coherences), Wigner's equation in the relaxation-time"
        " approximation; κ_RTA is Peierls and Boltzmann's, from each mode alone",
        *protocol_lines(protocol, PROTOCOLS),
        *_of_references(records, references),
    ]
    for label, mine in records.items():
        lines += remark_lines(label, [(record.name, words) for record in mine for words in _remarks(record)])
    return lines


def _of_references(records: Mapping[str, Sequence[Record]], references: References) -> list[str]:
    first = next(iter(records.values()))
    lines = []
    if references.file is not None:
        here = sum(source == str(references.file) for source in references.sources.values())
        lines.append(f"reference: {here} of the {references.count} materials of {references.file}")
        if here < references.count:
            lines.append(
                f"{references.count - here} of them are not in this run and not in its means; those of a benchmark are"
                " over all its materials"
            )
    compared = {record.name for mine in records.values() for record in mine if record.score is not None}
    own = [name for name, source in references.sources.items() if source == FORCE_SETS and name in compared]
    if own:
        lines.append(f"reference of {first_few(own)}: {FORCE_SETS}")
    without = [record.name for record in first if record.name not in references.found]
    if compared and without:
        lines.append(f"no reference, and not in the means: {first_few(without)}")
    sets = dict.fromkeys(r.name for mine in records.values() for r in mine if r.force_sets)
    unused = [name for name in sets if name in without and "reference" not in records]
    if unused:
        lines.append(f"{first_few(unused)}: the input has force sets; --also reference compares with them")
    if compared:
        lines.append(
            "SRME and SRE run from 0 to 2, which is what a material without a conductivity has; means and rates are"
            " over the compared materials, these included (rates over all where none is compared)"
        )
    return lines


def _remarks(record: Record) -> list[str]:
    if record.failure:
        return [record.failure]
    words = [record.reason] if record.reason else []
    if record.score_reason and record.score_reason != record.reason:
        words.append(f"counts as failed: {record.score_reason}")
    words += record.notes
    if record.converged is False:
        words.append("the relaxation did not come to its end")
    return words


def _number(value: float | None, form: str = "") -> str | None:
    if value is None or not np.isfinite(value):
        return None
    return format(value, form or ("#.4g" if 1e-3 <= abs(value) < 1e4 else ".3g")).rstrip(".")
