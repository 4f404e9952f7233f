"""Read a pickled checkpoint without running any code in it."""

import pickle
import re
import warnings
import zipfile
from pathlib import Path, PosixPath, PurePosixPath
from typing import Any

import numpy as np
import torch

from esen.errors import InputError, first_line

_MAKE_SCALAR = np.float64(0).__reduce__()[0]  # numpy's own function, wherever it stands
_SCALARS = [
    (_MAKE_SCALAR, "numpy.core.multiarray.scalar"),  # as numpy 1 names it
    _MAKE_SCALAR,
    np.dtype,
    *{type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "?")},
]
ALLOWED: list[Any] = [*_SCALARS, PosixPath, PurePosixPath]
"""Types that a checkpoint may hold beside tensors and plain values: NumPy numbers (metrics) and paths (settings)."""

_REQUIRED = {"state_dict", "config"}


def read_published(path: Path) -> dict[str, Any]:
    """Read a fairchem 1.x checkpoint: `state_dict`, `config`, `normalizers`, `elementrefs`, and possibly `ema`, ….

    Only tensors, plain Python values and the types in `ALLOWED` are constructed.

    Raises:
        InputError: The file does not exist, is not such a checkpoint, or asks to construct or run something else.
    """
    if not path.is_file():
        raise InputError(
            f"{path}: {'not a file' if path.exists() else 'no such file'}; expected a checkpoint (.pt)"
        )
    _check_archive(path)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(ALLOWED):
            warnings.simplefilter("ignore")  # torch warns about unusual files before it refuses them
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(f"{path}: refused, nothing of it was run: {_reason(str(error))}") from error
    except Exception as error:  # a damaged file can raise any error in torch
        reason = first_line(error).partition(". ")[0]
        raise InputError(f"{path}: not a whole PyTorch file ({reason})") from error
    if not isinstance(content, dict) or not content.keys() >= _REQUIRED:
        found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise InputError(
            f"{path}: not a checkpoint of fairchem 1.x, which has state_dict and config;"
            f" found {found[:200] or 'nothing'}"
        )
    for key in _REQUIRED:
        if not isinstance(content[key], dict):
            raise InputError(f"{path}: {key} is a {type(content[key]).__name__}, expected a dictionary")
    return content


def _check_archive(path: Path) -> None:
    """Compare the checksums of the zip archive that a checkpoint is, which PyTorch does not do.

    Raises:
        InputError: A part of the archive is damaged.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (OSError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a whole PyTorch file ({error})") from error
    if damaged is not None:
        raise InputError(
            f"{path}: damaged, the checksum of its part {damaged} is wrong; copy or download it again"
        )


def _reason(message: str) -> str:
    named = re.search(r"GLOBAL ([\w.]+)|class ([\w.]+)|function ([\w.]+)", message)
    if named is None:
        return "it is not a plain PyTorch checkpoint"
    name = next(group for group in named.groups() if group)
    if name.startswith("fairchem.core."):
        return f"it holds a {name}, as checkpoints of fairchem 2 (UMA) do, which is another network"
    return f"it asks for {name}, which no eSEN checkpoint needs"
