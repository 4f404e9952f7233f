"""The metrics of a run, as files that need no tracker: every step in JSON lines, every validation in a CSV."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Record:
    """`metrics.jsonl` (a row a step and a row a validation) and `metrics.csv` (the validations).

    Args:
        folder: of the run.
        up_to_step: rows of later steps are dropped first; they will be made again. 0 begins anew.
    """

    def __init__(self, folder: Path, up_to_step: int = 0) -> None:
        self.path = folder / "metrics.jsonl"
        self.csv_path = folder / "metrics.csv"
        rows = read_rows(self.path) if up_to_step and self.path.exists() else []
        self._validations = []
        with self.path.open("w", encoding="utf-8") as file:
            for row in rows:
                if row["step"] <= up_to_step:
                    file.write(json.dumps(row) + "\n")
                    if any(key.startswith("validation/") for key in row):
                        self._validations.append(row)
        self._file = self.path.open("a", encoding="utf-8", buffering=1)

    def step(self, row: Mapping[str, Any]) -> None:
        """Add a training step."""
        self._file.write(json.dumps(dict(row)) + "\n")

    def validation(self, row: Mapping[str, Any]) -> None:
        """Add a validation, and write the table of all."""
        self.step(row)
        self._validations.append(dict(row))
        with self.csv_path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(self._validations[0]), restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self._validations)

    def close(self) -> None:
        """No more rows."""
        self._file.close()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of `metrics.jsonl`; a last line that was cut short is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
