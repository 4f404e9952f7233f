"""The memory-mapped training set: a folder that opens in no time, however many frames it holds.

set.esendata/
  plan.json         what is converted, and how; written first
  shards/00000.arrow, …   the frames, in order
  index/*.npy       the facts of every frame
  manifest.json     sources, counts, checksums; written last, so that a set without it is not finished
"""

import hashlib
import json
from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from esen.data.facts import Facts
from esen.data.frames import Frames
from esen.data.shard import VERSION, Shard
from esen.data.structure import Structure
from esen.errors import InputError

PLAN, MANIFEST, SHARDS, INDEX = "plan.json", "manifest.json", "shards", "index"

_OPEN_SHARDS = 256
"""Each keeps a file open; systems allow about a thousand."""
_RELEASE_EVERY = 1000
"""Frames. One that is looked at brings up to half a megabyte of its file into memory, and needs a few kB of that."""
_NOT_INDEXED = ("weights",)


def is_esendata(path: Path) -> bool:
    """Whether a folder is a training set, finished or not."""
    return path.is_dir() and any(
        _mentions_esendata(path / name) for name in (MANIFEST, PLAN) if (path / name).is_file()
    )


class MappedFrames(Frames):
    """The frames of a training set. Each is read from its file when it is asked for, and not kept.

    May be sent to another process, which opens the files anew.

    Args:
        path: of the folder.
        weight: of all its frames in the loss.

    Raises:
        InputError: it is no training set, is not finished, or was made by a later version.
    """

    def __init__(self, path: Path, weight: float = 1.0) -> None:
        self.path = path
        self.weight = weight
        self.manifest = MappedFrames.check(path)
        self._ends = np.cumsum([shard["frames"] for shard in self.manifest["shards"]])
        self._shards: OrderedDict[int, Shard] = OrderedDict()
        self._lock = Lock()
        self._looks = 0

    @staticmethod
    def check(path: Path) -> dict[str, Any]:
        """The manifest, if it is one; raises as the class does."""
        if not (path / MANIFEST).is_file():
            if is_esendata(path):
                made = len(list((path / SHARDS).glob("*.arrow")))
                raise InputError(
                    f"{path}: is not finished ({made} parts are); go on with the same `esen data convert`"
                )
            raise InputError(f"{path}: is no training set (no {MANIFEST})")
        try:
            manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
            version = manifest["version"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path / MANIFEST}: cannot be read ({error})") from error
        if version > VERSION:
            raise InputError(
                f"{path}: was made by esen {manifest.get('esen')} in format {version}; this esen reads up to {VERSION}"
            )
        return manifest

    def __reduce__(self) -> tuple[Any, ...]:
        return MappedFrames, (self.path, self.weight)

    def __len__(self) -> int:
        return int(self._ends[-1])

    @cached_property
    def facts(self) -> Facts:
        """From the index, mapped too."""
        try:
            columns = {
                name: np.asarray(np.load(self.path / INDEX / f"{name}.npy", mmap_mode="r"))
                for name in Facts.__dataclass_fields__
                if name not in _NOT_INDEXED
            }
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path / INDEX}: cannot be read ({error})") from error
        return Facts(**columns, weights=np.broadcast_to(np.float64(self.weight), (len(self),)))

    def edges(self, cutoff: float) -> Int64[np.ndarray, " F"] | None:
        """How many edges each frame has at a cutoff, if they were counted at this one."""
        if self.manifest.get("edges_cutoff") != cutoff:
            return None
        return np.asarray(np.load(self.path / INDEX / "edges.npy", mmap_mode="r"))

    def damaged(self) -> list[str]:
        """The files of frames that are not as they were written."""
        bad = []
        for shard in self.manifest["shards"]:
            path = self.path / SHARDS / shard["file"]
            if not path.is_file() or file_checksum(path) != shard["blake2b"]:
                bad.append(str(path))
        return bad

    def structure(self, index: int) -> Structure:
        """Views of the file, made anew each time.

        Raises:
            InputError: its file is missing or damaged.
        """
        number = int(np.searchsorted(self._ends, index, side="right"))
        with self._lock:
            self._looks += 1
            if self._looks % _RELEASE_EVERY == 0:
                for shard in self._shards.values():
                    shard.release()
            shard = self._open(number)
        first = self._ends[number] - self.manifest["shards"][number]["frames"]
        facts = self.facts
        return shard.structure(
            int(index - first), energy=float(facts.energies[index]), stressed=bool(facts.stressed[index])
        )

    def _open(self, number: int) -> Shard:
        shard = self._shards.pop(number, None)
        if shard is None:
            shard = open_shard(self.path / SHARDS / self.manifest["shards"][number]["file"])
            if len(self._shards) >= _OPEN_SHARDS:
                self._shards.popitem(last=False)
        self._shards[number] = shard
        return shard


def open_shard(path: Path) -> Shard:
    """The frames of one file.

    Raises:
        InputError: it is missing or damaged.
    """
    try:
        return Shard(path)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        words = str(error).strip().splitlines()
        raise InputError(
            f"{path}: is missing or damaged ({words[0] if words else type(error).__name__})"
        ) from error


def shard_name(number: int) -> str:
    """The file of a shard.

    >>> shard_name(12)
    '00012.arrow'
    """
    return f"{number:05d}.arrow"


def file_checksum(path: Path) -> str:
    """Of all of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _mentions_esendata(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b'"esendata"' in file.read(200)
    except OSError:
        return False
