"""The tables of a run."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from esen.evaluate.conductivity.protocol import ConductivityProtocol
from esen.files import write_atomically
from esen.study.conductivity.record import KAPPAS, Record
from esen.study.conductivity.scores import References
from esen.study.materials.records import plain

_TENSOR = ("xx", "yy", "zz", "yz", "xz", "xy")
_HEAD = ("potential", "material", "label", "formula", "atoms", "mesh", "group before", "group after")
_MODES = ("imaginary", "lowest (THz)", "lowest at", "fc2 supercells", "fc3 supercells", "converged")


def write_tables(
    output: Path,
    protocol: ConductivityProtocol,
    references: References,
    records: Mapping[str, Sequence[Record]],
    summaries: Mapping[str, Mapping[str, Any]],
) -> dict[str, Path]:
    """`conductivity.csv` and `result.json`; gives their paths."""
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    kappas = [f"{name} (W/m/K)" for name in KAPPAS]
    scores = ("reference (W/m/K)", "SRD", "SRE", "SRME", "spectrum distance (THz)")
    ends = ("verdict", "reason", "notes", "failure")
    writer.writerow([*_HEAD, "temperature (K)", *kappas, *_TENSOR, *scores, *_MODES, *ends])
    for label, mine in records.items():
        for record in mine:
            writer.writerows(_rows(label, record))
    missing = [name for mine in records.values() for name in (r.name for r in mine)]
    content = {
        "protocol": asdict(protocol),
        "units": {"kappa": "W/m/K", "spectrum": "THz"},
        "reference": {
            "file": None if references.file is None else str(references.file),
            "materials of the file": references.count,
            "without reference": [n for n in dict.fromkeys(missing) if n not in references.found],
        },
        "summary": summaries,
    }
    paths = {
        "material by material": output / "conductivity.csv",
        "protocol and summary": output / "result.json",
    }
    write_atomically(paths["material by material"], table.getvalue().encode())
    text = json.dumps(plain(content), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(paths["protocol and summary"], text.encode() + b"\n")
    return paths


def _rows(label: str, record: Record) -> list[list[object]]:
    """One a temperature; one where there is no conductivity."""
    rows = []
    groups = record.groups or ("", "")
    mesh = " ".join(map(str, record.mesh))
    about = [label, record.name, record.label, record.formula, record.atoms or "", mesh, *groups]
    at = " ".join(f"{x:.4g}" for x in record.lowest_at)
    modes = [record.imaginary, _known(record.lowest), at, *(record.displaced or ("", "")), record.converged]
    ends = [record.verdict, record.reason, "; ".join(record.notes), record.failure]
    for place, kelvin in enumerate(record.temperatures or (float("nan"),)):
        tensor: Sequence[object] = record.tensors["total"][place] if record.tensors else [""] * len(_TENSOR)
        kappas = [_known(record.kappa(name, kelvin)) for name in KAPPAS]
        scores: list[object] = [""] * 5
        if not record.temperatures or np.isclose(kelvin, record.reference_kelvin):
            numbers = (record.reference_kappa, record.srd, record.sre, record.srme, record.spectrum)
            scores = [_known(number) for number in numbers]
        rows.append([*about, _known(kelvin), *kappas, *tensor, *scores, *modes, *ends])
    return rows


def _known(value: float) -> object:
    return value if np.isfinite(value) else ""
