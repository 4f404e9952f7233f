"""Records as rows of a table and as words."""

from collections.abc import Sequence

from esen.study.relax.record import Record

Row = dict[str, str | None]

MOST = 40
"""Rows of a table that one reads."""


def rows_of(records: Sequence[Record]) -> list[Row]:
    """In order; of many structures first those that are not converged, and no more than one reads."""
    shown = list(records)
    if len(shown) > MOST:
        shown = sorted(shown, key=lambda record: record.verdict == "converged")[:MOST]
    return [_row(record) for record in shown]


def lines_of(records: Sequence[Record], table: str) -> list[str]:
    """What is to be known: how many there are, and what went wrong with those of the rows.

    Args:
        records: of all structures.
        table: where all of them stand.
    """
    lines = []
    if len(records) > MOST:
        counted = {
            verdict: sum(record.verdict == verdict for record in records)
            for verdict in ("converged", "not converged", "melted", "failed")
        }
        words = ", ".join(f"{count} {verdict}" for verdict, count in counted.items() if count)
        lines.append(
            f"{len(records)} structures: {words}; {MOST} are shown, those that are not converged first:"
            f" all are in {table}"
        )
    if any(record.direct for record in records):
        lines.append(
            "the forces of this potential are not the gradient of its energy: where they vanish need be no minimum"
        )
    told = [line for record in records if (line := _line(record))]
    lines += told[:MOST]
    if len(told) > MOST:
        lines.append(f"and {len(told) - MOST} more, in {table}")
    return lines


def _row(r: Record) -> Row:
    if r.failure:
        numbers: Row = dict.fromkeys(("steps", "fmax (eV/Å)", "ΔE (meV/atom)", "V/V0", "group"))
    else:
        groups = "→".join(str(group) for group in dict.fromkeys(r.groups) if group)
        numbers = {
            "steps": str(r.steps),
            "fmax (eV/Å)": f"{r.fmax:.2g}",
            "ΔE (meV/atom)": f"{r.gained:.3f}",
            "V/V0": f"{r.volume_ratio:.4f}",
            "group": groups or None,
        }
    return {"name": r.name, "formula": r.formula, "atoms": str(r.atoms)} | numbers | {"verdict": r.verdict}


def _line(record: Record) -> str:
    if record.failure:
        return f"{record.name}: {record.failure}"
    return f"{record.name}: {record.change}" if record.melted else ""
