"""Files, compressed or not, read from one end to the other; whatever the system or the compression says is one line."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from esen.errors import InputError

PACKINGS = ("", ".gz", ".bz2", ".xz")
"""What a name may end in besides its own suffix."""


@contextmanager
def opened(path: Path, kind: str, at: Callable[[], str]) -> Iterator[tuple[TextIO, Callable[[], float]]]:
    """A file as text, and the part of it that has been read so far, 0 to 1.

    Args:
        path: of the file; `.gz`, `.bz2` and `.xz` are decompressed.
        kind: what it should be, for messages.
        at: says where the reading stands, as in `frame 3`, for messages.

    Raises:
        InputError: it cannot be opened, decompressed, or is not text.
    """
    try:
        with path.open("rb") as raw, io.TextIOWrapper(_decompressed(path, raw), encoding="utf-8") as file:
            size = max(path.stat().st_size, 1)
            yield file, lambda: min(raw.tell() / size, 1.0)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file, expected {kind}") from error
    except EOFError as error:
        raise InputError(f"{path}: the compressed file is cut off after {at()}") from error
    except (zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{path}: the compressed file is damaged after {at()} ({error})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def unpacked(path: Path) -> str:
    """The name without the suffix of its compression.

    >>> unpacked(Path("frames/a.xyz.gz"))
    'a.xyz'
    """
    return path.name.removesuffix(path.suffix) if path.suffix in PACKINGS else path.name


def _decompressed(path: Path, raw: BinaryIO) -> Any:
    match path.suffix:
        case ".gz":
            return gzip.open(raw, "rb")
        case ".bz2":
            return bz2.open(raw, "rb")
        case ".xz":
            return lzma.open(raw, "rb")
        case _:
            return raw
