"""Files of a run: metrics, best weights of each stage, and the names of its tracked runs.

- `metrics.jsonl`: one row per step and per validation; `metrics.csv`: the validations.
- `best.safetensors`: best weights of the last stage, `best-stage1.safetensors`, … of the stages before it.
- `tracking.json`: the tracker's identifiers of the run and of its stages, with which a resumed run goes on, and where
  they are kept, so that tests of the potential are tracked beside its training.
"""

import json
import logging
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from esen.errors import InputError
from esen.files import csv_text, naming, parse_json, plain, read_json, write_atomically, write_json
from esen.recipe import Recipe

BEST = "best.safetensors"
LAST = "last.safetensors"
logger = logging.getLogger(__name__)
_NOWHERE: Mapping[str, str] = MappingProxyType({})


def best_path(folder: Path, recipe: Recipe, stage: int) -> Path:
    """Return the file of the best weights of a stage."""
    is_last = stage >= len(recipe.train.stages) - 1
    return folder / (BEST if is_last else f"best-stage{stage + 1}.safetensors")


def rename_best(folder: Path, recipe: Recipe, stage: int) -> None:
    """Rename the best weights of a stage that, as stages were added or removed, became or ceased to be the last."""
    now = best_path(folder, recipe, stage)
    before = folder / (f"best-stage{stage + 1}.safetensors" if now.name == BEST else BEST)
    if before.exists() and not now.exists():
        before.replace(now)


class Metrics:
    """Write `metrics.jsonl` and `metrics.csv`. Numbers that are not finite become null, so that each line is JSON.

    Args:
        folder: Folder of the run.
        up_to_step: Rows of later steps are dropped first, because they will be made again; 0 drops all.
        validated: Whether a validation at that step is kept.

    Raises:
        OSError: Nothing can be written; it names the file. The methods raise it too.
    """

    def __init__(self, folder: Path, up_to_step: int = 0, *, validated: bool = True) -> None:
        self.path = folder / "metrics.jsonl"
        self.csv_path = folder / "metrics.csv"
        rows = read_metrics(self.path) if up_to_step and self.path.exists() else []
        rows = [row for row in rows if row["step"] <= up_to_step]
        if not validated:
            rows = [row for row in rows if row["step"] < up_to_step or not _is_validation(row)]
        self._validations = [row for row in rows if _is_validation(row)]
        write_atomically(self.path, "".join(map(_line, rows)))
        self._write_table()
        self._file = self.path.open("a", encoding="utf-8", buffering=1)

    def step(self, row: Mapping[str, Any]) -> None:
        """Add a training step."""
        with naming(self.path):
            self._file.write(_line(row))

    def validation(self, row: Mapping[str, Any]) -> None:
        """Add a validation, and write the table of all validations."""
        self.step(row)
        self._validations.append(dict(row))
        self._write_table()

    def close(self) -> None:
        """Close the file. An error here, as of a full disk, was raised before by `step`."""
        with suppress(OSError):
            self._file.close()

    def _write_table(self) -> None:
        columns = list(dict.fromkeys(key for row in self._validations for key in row))
        rows = [[row.get(column, "") for column in columns] for row in self._validations]
        write_atomically(self.csv_path, csv_text(columns, rows).replace("\r\n", "\n"))


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(plain(row), allow_nan=False) + "\n"


def _is_validation(row: Mapping[str, Any]) -> bool:
    return any(key.startswith("validation/") for key in row)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the rows of `metrics.jsonl`, without damaged lines, which are counted in a warning.

    It is no damage if the last line has no end: it was cut short when the process was killed.
    """
    *lines, last = path.read_bytes().split(b"\n")
    rows = [_row(line) for line in lines]
    if damaged := rows.count(None):
        first = rows.index(None) + 1
        logger.warning("%s: %d damaged lines are left out, the first is line %d", path, damaged, first)
    return [row for row in (*rows, _row(last)) if row is not None]


def _row(line: bytes) -> dict[str, Any] | None:
    """Return a row of metrics; None if the line is damaged."""
    try:
        row = parse_json(line)
        numbers = all(value is None or math.isfinite(value) for value in row.values())
        return row if isinstance(row["step"], int) and numbers else None
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError):
        return None


def keep_tracking(
    folder: Path,
    run_id: str | None,
    *,
    stage: int | None = None,
    place: Mapping[str, str] = _NOWHERE,
) -> None:
    """Write the tracker's identifier of the run to `tracking.json`, once it is known.

    Args:
        folder: Folder of the run.
        run_id: The identifier; None if it is not known yet.
        stage: The stage whose own run it is; None for the whole run.
        place: Name of the run, address of the store, and name of the experiment.
    """
    known = kept_tracking(folder)
    entry = (
        {"run_id": run_id, **place}
        if stage is None
        else {"stages": {**known.get("stages", {}), str(stage + 1): run_id}}
    )
    if run_id is not None and known | entry != known:
        with suppress(OSError):  # tracking must not stop a run
            write_json(folder / "tracking.json", known | entry)


def kept_run_id(folder: Path, *, stage: int | None = None) -> str | None:
    """Return the tracker's identifier of the run in a folder, or of one of its stages; None if it is not known."""
    known = kept_tracking(folder)
    try:
        return str(known["run_id"] if stage is None else known["stages"][str(stage + 1)])
    except (KeyError, TypeError):
        return None


def kept_tracking(folder: Path) -> dict[str, Any]:
    """Return the content of `tracking.json`; empty if there is none, or if it is damaged: the run is tracked anew."""
    try:
        known = read_json(folder / "tracking.json", "")
    except InputError:
        return {}
    stages = known.get("stages", {})
    texts = [value for key, value in known.items() if key != "stages"]
    whole = isinstance(stages, dict) and all(isinstance(text, str) for text in (*texts, *stages.values()))
    return known if whole else {}
