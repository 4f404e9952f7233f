"""The metrics of a run, as files that need no tracker: every step in JSON lines, every validation in a CSV."""

import csv
import io
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from esen.files import naming, write_atomically


class Record:
    """`metrics.jsonl` (a row a step and a row a validation) and `metrics.csv` (the validations).

    Args:
        folder: of the run.
        up_to_step: rows of later steps are dropped first; they will be made again. 0 begins anew.
        validated: whether a validation at that step is kept, too.

    Raises:
        OSError: nothing can be written, as do the methods; it names the file.
    """

    def __init__(self, folder: Path, up_to_step: int = 0, *, validated: bool = True) -> None:
        self.path = folder / "metrics.jsonl"
        self.csv_path = folder / "metrics.csv"
        rows = read_rows(self.path) if up_to_step and self.path.exists() else []
        rows = [row for row in rows if row["step"] <= up_to_step]
        if not validated:
            rows = [row for row in rows if row["step"] < up_to_step or not _is_validation(row)]
        self._validations = [row for row in rows if _is_validation(row)]
        write_atomically(self.path, "".join(json.dumps(row) + "\n" for row in rows).encode())
        self._write_table()
        self._file = self.path.open("a", encoding="utf-8", buffering=1)

    def step(self, row: Mapping[str, Any]) -> None:
        """Add a training step."""
        with naming(self.path):
            self._file.write(json.dumps(dict(row)) + "\n")

    def validation(self, row: Mapping[str, Any]) -> None:
        """Add a validation, and write the table of all."""
        self.step(row)
        self._validations.append(dict(row))
        self._write_table()

    def close(self) -> None:
        """No more rows. What a full disk refuses here it has refused before."""
        with suppress(OSError):
            self._file.close()

    def _write_table(self) -> None:
        columns = dict.fromkeys(key for row in self._validations for key in row)
        table = io.StringIO()
        writer = csv.DictWriter(table, list(columns), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._validations)
        write_atomically(self.csv_path, table.getvalue().encode())


def _is_validation(row: Mapping[str, Any]) -> bool:
    return any(key.startswith("validation/") for key in row)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of `metrics.jsonl`; a last line that was cut short is left out."""
    rows = []
    for line in path.read_bytes().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def keep_run_id(folder: Path, run_id: str | None, *, stage: int | None = None) -> None:
    """Write the tracker's name of the run to `tracking.json`, once it is known, for those who go on with the run.

    Args:
        folder: of the run.
        run_id: None: not known yet.
        stage: whose own run it is; None: it is the whole run.
    """
    if run_id is not None and kept_run_id(folder, stage=stage) != run_id:
        known = _kept_run_ids(folder)
        if stage is None:
            known["run_id"] = run_id
        else:
            known["stages"] = known.get("stages", {}) | {str(stage + 1): run_id}
        with suppress(OSError):  # tracking may not stop a run
            write_atomically(folder / "tracking.json", json.dumps(known).encode())


def kept_run_id(folder: Path, *, stage: int | None = None) -> str | None:
    """The tracker's name of the run in this folder, or of one of its stages; None if it is not known."""
    known = _kept_run_ids(folder)
    try:
        return str(known["run_id"] if stage is None else known["stages"][str(stage + 1)])
    except (KeyError, TypeError):
        return None


def _kept_run_ids(folder: Path) -> dict[str, Any]:
    try:
        known = json.loads((folder / "tracking.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
