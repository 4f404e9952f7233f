"""Files of a run: atomic writes, JSON, CSV and NumPy arrays, the lock of a folder, and signals that stop a run.

Every file that `esen` leaves is written beside its place, flushed to disk and renamed, so that a full disk or a killed
process leaves the earlier file whole.
"""

import csv
import hashlib
import io
import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import parent_process
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar
from uuid import uuid4

import numpy as np
from filelock import FileLock, Timeout

from esen.errors import InputError, first_line, typed_line

T = TypeVar("T")

_PARTIAL = ".partial"
_DEEPEST = 100
RESULT = "result.json"
"""File of the results of a command."""
LOCK = ".lock"
"""File of the lock in a folder; a folder that holds nothing else counts as empty."""
STOPPING = ("SIGTERM", "SIGHUP")
"""Signals of a scheduler, and of a terminal that is closed (which Windows has not)."""
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", *STOPPING) if hasattr(signal, name))
"""The same and Ctrl-C."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add `path` to any OSError raised within the block, because a full disk does not say which file it is.

    Raises:
        OSError: with `filename`.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the path of a temporary file beside `path`, which replaces `path` when the block ends without an error.

    The temporary name is unique, so that several processes may write the same file. The content is flushed to disk.
    Missing folders are made.

    Raises:
        OSError: the disk is full or the folder cannot be written; `path` is as it was.
    """
    partial = path.with_name(f".{path.name}.{uuid4().hex[:8]}{_PARTIAL}")
    try:
        with naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: bytes | str | memoryview) -> None:
    """Write a file as a whole or not at all; text is encoded as UTF-8.

    Raises:
        OSError: the disk is full or the folder cannot be written; `path` is as it was.
    """
    with replacing(path) as partial:
        # a name of a file that is not UTF-8 is written as `\\udce9`, which JSON reads back
        partial.write_bytes(
            content.encode(errors="backslashreplace") if isinstance(content, str) else content
        )


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, with arrays as lists and numbers that are not finite as null.

    Raises:
        OSError: as `write_atomically`.
    """
    write_atomically(path, json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, cure: str) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Args:
        path: the file.
        cure: what the user may do if it cannot be read, for the error line.

    Raises:
        InputError: the file is missing, damaged, or holds something else.
    """
    try:
        if path.exists() and not path.is_file():
            raise ValueError("not a file")
        content = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({first_line(error)}); {cure}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds {type(content).__name__}, expected a JSON object; {cure}")
    return content


def parse_json(content: str | bytes, **hooks: Any) -> Any:
    """Return the value of a JSON text, as `json.loads` does.

    Raises:
        ValueError: it is not JSON, or nested too deeply (`refuse_nesting`).
    """
    refuse_nesting(content)
    return json.loads(content, **hooks)


def refuse_nesting(content: str | bytes) -> None:
    """Refuse a text with lists or objects within each other more than a hundred levels deep.

    Python's parser calls itself at every level, and ends the process where a library has raised the recursion limit.

    Raises:
        ValueError: the text is nested so deeply. Brackets within strings count as well.
    """
    given = content.encode(errors="replace") if isinstance(content, str) else content
    if given.count(b"[") + given.count(b"{") <= _DEEPEST:
        return
    characters = np.frombuffer(given, dtype=np.uint8)
    brackets = characters[np.isin(characters, list(b"[]{}"))]
    depth = np.cumsum(np.where(np.isin(brackets, list(b"[{")), 1, -1))
    outside = np.minimum(np.minimum.accumulate(depth), 0)  # below 0 in a part of a text
    if (depth - outside).max() > _DEEPEST:
        raise ValueError(f"nested more than {_DEEPEST} levels deep")


def plain(value: Any) -> Any:
    """Convert to what JSON has: lists for tuples and arrays, None for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV; None and numbers that are not finite are empty cells."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    for row in rows:
        writer.writerow(["" if isinstance(x, float) and not math.isfinite(x) else x for x in row])
    return text.getvalue()


def write_arrays(path: Path, arrays: Mapping[str, Any], *, compressed: bool = True) -> None:
    """Write arrays by name as NumPy's .npz, atomically.

    Raises:
        OSError: as `write_atomically`.
    """
    with replacing(path) as partial, partial.open("wb") as file:
        (np.savez_compressed if compressed else np.savez)(file, **arrays)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read what `write_arrays` wrote. Nothing is unpickled.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            arrays = {key: content[key] for key in content.files}  # zipfile compares their checksums
            file.seek(-12, os.SEEK_END)
            if len(arrays) != int.from_bytes(file.read(2), "little"):
                raise ValueError("its table of contents is incomplete")
            return arrays
    except Exception as error:  # a damaged file can raise any error in zipfile, zlib and NumPy
        raise InputError(f"{path}: damaged ({typed_line(error)}); remove it to compute it again") from error


def sha256_of(path: Path) -> str:
    """Return the SHA-256 hash of a file, as 64 hexadecimal digits.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_arrays_as(path: Path, kind: type[T]) -> T:
    """Read what `write_arrays` wrote of the attributes of a dataclass.

    Raises:
        InputError: the file is missing, damaged, or has other arrays.
    """
    try:
        return kind(**read_arrays(path))
    except TypeError as error:
        raise InputError(f"{path}: damaged ({error}); remove it to compute it again") from error


@contextmanager
def locked(folder: Path, file: str = LOCK, *, wait: bool = False) -> Iterator[None]:
    """Lock a folder against other processes, and remove what killed processes left half written in it.

    The operating system lifts the lock of a process that is killed. A file system without locks is used without.

    Args:
        folder: it.
        file: of the lock, in the folder.
        wait: whether to wait for a process that holds the lock.

    Raises:
        InputError: another process holds the lock, and is not waited for.
    """
    lock = FileLock(folder / file, blocking=wait)
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError(
            f"{folder}: another process is at work in it; wait for it, or give another folder with --output"
        ) from error
    except (OSError, NotImplementedError):
        if not os.access(folder, os.W_OK):
            raise
    try:
        remove_partial_files(folder)
        yield
    finally:
        lock.release()


def remove_partial_files(folder: Path) -> None:
    """Remove temporary files that killed processes left in a folder and its folders. Call it under the lock."""
    for path in folder.rglob(f".*{_PARTIAL}"):
        path.unlink(missing_ok=True)


class Interrupted(KeyboardInterrupt):
    """The user or a scheduler stopped the run. The message says how to resume it."""


class StopSignal:
    """Within the block, the first Ctrl-C, SIGTERM or SIGHUP only sets `raised`; a second one interrupts at once.

    In a worker process, further signals change nothing: a signal to the whole group of processes reaches the worker,
    and its parent, which stops the worker once more, and kills it if the user is in a hurry.

    Args:
        tell: called once after the first signal, by a thread, because a signal handler must not print.
        grace: seconds after the first signal within which further ones are the same signal heard twice, as torchrun
            passes on what the terminal has already sent.
    """

    def __init__(self, tell: Callable[[], None] | None = None, *, grace: float = 0.0) -> None:
        self.raised = False
        self._grace = grace
        self._heard_at = -math.inf
        self._tell = tell
        self._before: dict[int, Any] = {}
        self._wake = threading.Event()
        self._teller = threading.Thread(target=self._wait, name="esen.stop", daemon=True)

    def __enter__(self) -> Self:
        self._before = _handle(self._heard)
        if self._tell is not None:
            self._teller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _restore(self._before)
        self._wake.set()
        if self._teller.is_alive():
            self._teller.join()

    def _heard(self, number: int, frame: FrameType | None) -> None:
        is_second = time.monotonic() - self._heard_at >= self._grace
        if self.raised and is_second and parent_process() is None:
            raise KeyboardInterrupt
        if self.raised:
            return
        self.raised, self._heard_at = True, time.monotonic()
        self._wake.set()

    def _wait(self) -> None:
        self._wake.wait()
        if self.raised and self._tell is not None:
            self._tell()


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise `KeyboardInterrupt` within the block, as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = _handle(interrupt)
    try:
        yield
    finally:
        _restore(before)


@contextmanager
def signals_ignored() -> Iterator[None]:
    """Ignore Ctrl-C within the block, so that a process that is started there inherits this."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def signals_blocked(*names: str) -> Iterator[None]:
    """Block signals within the block; a process that is started there does not get them until it unblocks them."""
    known = [getattr(signal, name) for name in names if hasattr(signal, name)]
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, known)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """Let this worker process end when its parent is killed or by SIGTERM, and not by Ctrl-C, which is for the parent.

    A signal to end that has come while it was blocked ends the process now.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [getattr(signal, name) for name in STOPPING])

    def wait() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _handle(handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
    """Set the handler, and return the earlier ones. A signal that is ignored, as by `nohup`, stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in heard}


def _restore(before: dict[int, Any]) -> None:
    for number, handler in before.items():
        signal.signal(number, handler)
