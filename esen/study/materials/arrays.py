"""Dataclasses of arrays in files."""

import zipfile
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import numpy as np

from esen.errors import InputError

A = TypeVar("A")


def write_arrays(path: Path, arrays: Any) -> None:
    """As NumPy's .npz, whole or not at all."""
    # Of a name of its own: two processes may write the same reference at once.
    part = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        with part.open("wb") as file:
            np.savez_compressed(file, **vars(arrays))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_arrays(path: Path, kind: type[A]) -> A:
    """What was written.

    Raises:
        InputError: it is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            return kind(**{key: content[key] for key in content.files})
    except (OSError, ValueError, TypeError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: damaged ({error}); remove it to compute it anew") from error
