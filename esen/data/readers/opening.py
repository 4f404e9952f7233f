"""Open text files, compressed or not, and report errors of the system or the compression in one line."""

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

_DECOMPRESSORS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
PACKINGS = ("", *_DECOMPRESSORS)
"""Suffixes of compression that may follow the suffix of the format."""


@contextmanager
def opened(path: Path, kind: str, at: Callable[[], str]) -> Iterator[tuple[TextIO, Callable[[], float]]]:
    """Open a file as text; give the file and a function that returns the fraction read so far, 0 to 1.

    A byte order mark is skipped.

    Args:
        path: the file; `.gz`, `.bz2` and `.xz` are decompressed.
        kind: what the file should contain, for messages.
        at: returns the current place, such as `frame 3`, for messages.

    Raises:
        InputError: the file cannot be opened or decompressed, or is not text.
    """
    try:
        with path.open("rb") as raw, io.TextIOWrapper(decompressed(path, raw), encoding="utf-8-sig") as file:
            size = max(path.stat().st_size, 1)
            yield file, lambda: min(raw.tell() / size, 1.0)
    except UnicodeDecodeError as error:
        wrong = error.object[error.start]
        raise InputError(
            f"{path}: is not UTF-8 text (byte 0x{wrong:02x} after {at()}), expected {kind}"
        ) from error
    except EOFError as error:
        raise InputError(f"{path}: the compressed file is cut off after {at()}") from error
    except (zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{path}: the compressed file is damaged after {at()} ({error})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def decompressed(path: Path, raw: BinaryIO) -> Any:
    """Return a binary file that decompresses `raw` as the suffix of `path` says, or `raw` itself."""
    return _DECOMPRESSORS[path.suffix](raw, "rb") if path.suffix in _DECOMPRESSORS else raw


def unpacked(path: Path) -> str:
    """Return the file name without the suffix of the compression.

    >>> unpacked(Path("frames/a.xyz.gz"))
    'a.xyz'
    """
    return path.name.removesuffix(path.suffix) if path.suffix in PACKINGS else path.name
