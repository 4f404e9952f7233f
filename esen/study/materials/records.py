"""A record a material: a file as soon as it is computed, so that a run can be stopped anywhere."""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import numpy as np
from pydantic import TypeAdapter

from esen.errors import InputError
from esen.files import write_atomically

R = TypeVar("R")


def write_record(path: Path, record: Any) -> None:
    """Write a dataclass, whole or not at all; numbers that are not finite as null."""
    text = json.dumps(plain(asdict(record)), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(path, text.encode() + b"\n")


def read_record(path: Path, kind: type[R]) -> R:
    """A record that was written: null is NaN where a number is expected, and lists are tuples where these are.

    Raises:
        InputError: it is damaged.
    """
    try:
        content = json.loads(path.read_text())
        hints = get_type_hints(kind)
        for field in fields(kind):  # type: ignore[arg-type]
            if hints[field.name] is float and content.get(field.name, 0.0) is None:
                content[field.name] = float("nan")
        kind(**content)  # refuses what is missing, and what is too much
        return TypeAdapter(kind).validate_python(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not a record of this command ({error!r}); remove it to compute it anew"
        ) from error


def plain(value: Any) -> Any:
    """What JSON has: lists for tuples and arrays, None for numbers that are not finite."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
