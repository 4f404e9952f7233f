"""Open text files, compressed or not, in UTF-8 or, if their byte order mark says so, in UTF-16 or UTF-32."""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from esen.text import encoding_of

_DECOMPRESSORS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
PACKINGS = ("", *_DECOMPRESSORS)
"""Suffixes of compression that may follow the suffix of the format."""


@contextmanager
def opened(path: Path) -> Iterator[tuple[TextIO, Callable[[], float]]]:
    """Open a file as text; give the file and a function that returns the fraction read so far, 0 to 1.

    Args:
        path: the file; `.gz`, `.bz2` and `.xz` are decompressed.

    Raises:
        Exception: the file cannot be opened or decompressed, or is not text.
    """
    size = max(path.stat().st_size, 1)
    with path.open("rb") as raw, as_text(decompressed(path, raw)) as file:
        yield file, lambda: min(raw.tell() / size, 1.0)


def as_text(file: Any) -> TextIO:
    """Return the text of a binary file, without a byte order mark."""
    buffered = io.BufferedReader(file)
    return io.TextIOWrapper(buffered, encoding=encoding_of(buffered.peek(4)) or "utf-8")


def decompressed(path: Path, raw: BinaryIO) -> Any:
    """Return a binary file that decompresses `raw` as the suffix of `path` says, or `raw` itself."""
    return _DECOMPRESSORS[path.suffix](raw, "rb") if path.suffix in _DECOMPRESSORS else raw


def unpacked(path: Path) -> str:
    """Return the file name without the suffix of the compression.

    >>> unpacked(Path("frames/a.xyz.gz"))
    'a.xyz'
    """
    return path.name.removesuffix(path.suffix) if path.suffix in PACKINGS else path.name
