"""Dataclasses of arrays in files."""

import zipfile
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from esen.errors import InputError

A = TypeVar("A")


def write_arrays(path: Path, arrays: Any) -> None:
    """As NumPy's .npz, whole or not at all."""
    whole = path.with_name(path.name + ".part")
    with whole.open("wb") as file:
        np.savez_compressed(file, **vars(arrays))
    whole.replace(path)


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
