"""The memory-mapped training set (`esendata`): a folder that opens at once, however many frames it holds.

set.esendata/
  plan.json         what is converted, and how; written first
  shards/00000.arrow, …   the frames, in order: Arrow IPC files with one row per frame, read without copying
  index/*.npy       the facts of every frame
  manifest.json     sources, counts, checksums; written last, so that a set without it is not finished

Nothing damaged is used: the manifest has checksums of itself, of the index and of each shard, which are compared when
a process first opens them. Every frame has a digest of its geometry and labels, which is compared whenever it is read.
"""

import hashlib
import json
import logging
import mmap
from collections import OrderedDict
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Int64

from esen.data.frames import DIGEST_BYTES, Facts, Frames, digest
from esen.data.structure import Structure
from esen.errors import InputError, first_line
from esen.files import parse_json, read_json
from esen.text import printable

if TYPE_CHECKING:
    import pyarrow as pa  # imported where a set is read or written, since it is large

PLAN, MANIFEST, SHARDS, INDEX = "plan.json", "manifest.json", "shards", "index"
VERSION = 1
UNITS = {
    "positions": "Å",
    "cell": "Å, rows are lattice vectors",
    "energy": "eV, total",
    "forces": "eV/Å",
    "stress": "eV/Å³, (1/V) dE/dε, tension positive, row by row",
    "force_squares": "eV²/Å², sum over atoms",
    "largest_force": "eV/Å",
}
OPEN_SHARDS = 256
"""Shards kept open at most. Each holds an open file; systems allow about a thousand."""
RELEASE_EVERY = 1000
"""Frames. Reading one maps up to half a megabyte of its file into memory, of which it needs a few kB."""
_NOT_INDEXED = ("weights",)
_CURE = "copy it again, or convert again with --restart"
logger = logging.getLogger(__name__)


def is_esendata(path: Path) -> bool:
    """Return whether a folder is a training set, finished or not."""
    return path.is_dir() and any(_mentions_esendata(path / name) for name in (MANIFEST, PLAN))


def _mentions_esendata(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b'"esendata"' in file.read(200)
    except OSError:
        return False


class MappedFrames(Frames):
    """The frames of a training set. Each is read from its file when it is asked for, and is not kept.

    An instance may be sent to another process, which opens the files anew.

    Args:
        path: the folder.
        weight: weight of all its frames in the loss.

    Raises:
        InputError: the folder is not a training set, is not finished, is damaged, or was made by a later version.
    """

    def __init__(self, path: Path, weight: float = 1.0) -> None:
        self.path = path
        self.weight = weight
        self.manifest = MappedFrames.check(path)
        self._ends = np.cumsum([shard["frames"] for shard in self.manifest["shards"]])
        self._shards: OrderedDict[int, Shard] = OrderedDict()
        self._compared: set[int] = set()
        self._lock = Lock()
        self._reads = 0

    @staticmethod
    def check(path: Path) -> dict[str, Any]:
        """Return the manifest; errors are those of the class."""
        if not (path / MANIFEST).is_file():
            if is_esendata(path):
                made = len(list((path / SHARDS).glob("*.arrow")))
                raise InputError(
                    f"{path}: is not finished ({made} shards are); resume with the same `esen data convert`"
                )
            raise InputError(f"{path}: is no training set (no {MANIFEST})")
        manifest = read_json(path / MANIFEST, _CURE)
        version = manifest.get("version")
        if isinstance(version, int) and version > VERSION:
            raise InputError(
                f"{path}: was made by esen {manifest.get('esen')} in format {version}; this esen reads up to {VERSION}"
            )
        if "blake2b" not in manifest:
            _note_without_checksums(path)
        elif manifest["blake2b"] != manifest_checksum(manifest):
            raise InputError(f"{path / MANIFEST}: damaged, it does not have its checksum; {_CURE}")
        shards = manifest.get("shards")
        if not isinstance(shards, list) or not shards or not all(map(_is_shard, shards)):
            raise InputError(f"{path / MANIFEST}: damaged, it does not list the shards; {_CURE}")
        return manifest

    def __reduce__(self) -> tuple[Any, ...]:
        return MappedFrames, (self.path, self.weight)

    def __len__(self) -> int:
        return int(self._ends[-1])

    @cached_property
    def facts(self) -> Facts:
        """Facts of all frames, mapped from the index.

        Raises:
            InputError: the index is missing or damaged.
        """
        columns = {
            name: self._column(name) for name in Facts.__dataclass_fields__ if name not in _NOT_INDEXED
        }
        return Facts(**columns, weights=np.broadcast_to(np.float64(self.weight), (len(self),)))

    def _column(self, name: str) -> np.ndarray:
        path = self.path / INDEX / f"{name}.npy"
        try:
            if "index" in self.manifest and file_checksum(path) != self.manifest["index"][name]:
                raise ValueError("it does not have its checksum")
            column = np.asarray(np.load(path, mmap_mode="r"))
        except (OSError, ValueError, LookupError) as error:
            raise InputError(f"{path}: is missing or damaged ({first_line(error)}); {_CURE}") from error
        if len(column) != len(self) and name not in {"elements", "counts"}:
            raise InputError(f"{path}: has {len(column)} frames, the manifest {len(self)}; {_CURE}")
        return column

    def edges(self, cutoff: float) -> Int64[np.ndarray, " F"] | None:
        """Return the number of edges of each frame, or None if they were not counted at this cutoff in Å."""
        if self.manifest.get("edges_cutoff") != cutoff:
            return None
        return self._column("edges")

    def damaged(self) -> list[str]:
        """Return the paths of shards and columns of the index that are missing or do not have their checksum."""
        index = self.manifest.get("index", {})
        paths = {self.path / INDEX / f"{name}.npy": checksum for name, checksum in index.items()}
        paths |= {self.path / SHARDS / shard["file"]: shard["blake2b"] for shard in self.manifest["shards"]}
        return [str(p) for p, checksum in paths.items() if not p.is_file() or file_checksum(p) != checksum]

    def structure(self, index: int) -> Structure:
        """Return a frame whose arrays are views of the file.

        Raises:
            InputError: its shard is missing or damaged, or the frame is not as it was written.
        """
        number = int(np.searchsorted(self._ends, index, side="right"))
        with self._lock:
            self._reads += 1
            if self._reads % RELEASE_EVERY == 0:
                for shard in self._shards.values():
                    shard.release()
            shard = self._open(number)
        first = self._ends[number] - self.manifest["shards"][number]["frames"]
        facts = self.facts
        found = shard.structure(
            int(index - first), energy=float(facts.energies[index]), stressed=bool(facts.stressed[index])
        )
        if digest(found) != facts.digests[index].tobytes():
            raise InputError(f"{self._shard_path(number)}: frame {index} of the set is damaged; {_CURE}")
        return found

    def _shard_path(self, number: int) -> Path:
        return self.path / SHARDS / str(self.manifest["shards"][number]["file"])

    def _open(self, number: int) -> "Shard":
        shard = self._shards.pop(number, None)
        if shard is None:
            path, known = self._shard_path(number), self.manifest["shards"][number]
            if number not in self._compared and path.is_file() and file_checksum(path) != known["blake2b"]:
                raise InputError(f"{path}: damaged, it does not have its checksum; {_CURE}")
            self._compared.add(number)
            shard = open_shard(path)
            if len(self._shards) >= OPEN_SHARDS:
                self._shards.popitem(last=False)
        self._shards[number] = shard
        return shard


class Shard:
    """A file of frames, mapped into memory, so that only the parts in use are read.

    Raises:
        OSError: the file cannot be opened.
        pa.ArrowInvalid: the file is not an Arrow file.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        with path.open("rb") as file:
            self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        batch = pa.ipc.open_file(pa.py_buffer(self.map)).get_batch(0)
        self.batch = batch
        self._atoms = _numpy(batch.column("numbers").offsets)
        self._numbers = _numpy(batch.column("numbers").values)
        self._positions = _numpy(batch.column("positions").values.values).reshape(-1, 3)
        self._cells = _numpy(batch.column("cell").values).reshape(-1, 3, 3)
        self._pbc = _numpy(batch.column("pbc").values).reshape(-1, 3)
        self._force_ends = _numpy(batch.column("forces").offsets)
        self._forces = _numpy(batch.column("forces").values.values).reshape(-1, 3)
        self._stresses = _numpy(batch.column("stress").values).reshape(-1, 3, 3)

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def structure(self, row: int, *, energy: float, stressed: bool) -> Structure:
        """Return a frame whose arrays are views of the file.

        Args:
            row: number of the frame in the file.
            energy: from the index; NaN if there is none.
            stressed: whether there is a stress, from the index.
        """
        atoms = slice(self._atoms[row], self._atoms[row + 1])
        forces = slice(self._force_ends[row], self._force_ends[row + 1])
        return Structure(
            numbers=self._numbers[atoms].astype(np.int64),
            positions=self._positions[atoms],
            cell=self._cells[row],
            pbc=self._pbc[row].view(np.bool_),
            energy=None if np.isnan(energy) else float(energy),
            forces=self._forces[forces] if forces.stop > forces.start else None,
            stress=self._stresses[row] if stressed else None,
            info=parse_json(self.batch.column("info")[row].as_py()),
            source=self.batch.column("source")[row].as_py(),
        )

    def facts(self) -> dict[str, np.ndarray]:
        """Return the columns of the index, copied."""
        column = self.batch.column
        edges = column("edges")
        digests = np.frombuffer(column("digest").buffers()[1], np.uint8)
        return {
            "atoms": np.diff(self._atoms),
            "energies": column("energy").fill_null(float("nan")).to_numpy(zero_copy_only=False).copy(),
            "force_squares": _numpy(column("force_squares")).copy(),
            "largest_forces": _numpy(column("largest_force")).copy(),
            "periodic": self._pbc.all(axis=1),
            "stressed": column("stress").is_valid().to_numpy(zero_copy_only=False),
            "kinds": _numpy(column("kinds")).copy(),
            "elements": _numpy(column("elements").values).copy(),
            "counts": _numpy(column("counts").values).copy(),
            "digests": digests.reshape(-1, DIGEST_BYTES).copy(),
            "edges": np.full(len(self), -1) if edges.null_count else _numpy(edges).copy(),
        }

    def is_whole(self) -> bool:
        """Whether all columns agree with the frames, as they do in a file that is as it was written."""
        self.batch.validate(full=True)
        stored = self.facts()
        pairs = zip(stored["energies"].tolist(), stored["stressed"].tolist(), strict=True)
        rows = [self.structure(row, energy=e, stressed=s) for row, (e, s) in enumerate(pairs)]
        computed = Facts.of(rows)
        return all(
            column.tobytes() == getattr(computed, name).tobytes()
            for name, column in stored.items()
            if name != "edges"
        )

    def release(self) -> None:
        """Give back the memory of the pages read so far; they are mapped again when needed."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self.map.madvise(mmap.MADV_DONTNEED)


def open_shard(path: Path) -> Shard:
    """Open a shard.

    Raises:
        InputError: the file is missing or damaged.
    """
    import pyarrow as pa

    try:
        return Shard(path)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise InputError(f"{path}: is missing or damaged ({first_line(error)}); {_CURE}") from error


def holds_frames(path: Path, sources: Sequence[str]) -> bool:
    """Whether a shard of an unfinished set is undamaged and holds the frames of these sources."""
    import pyarrow as pa

    try:
        shard = open_shard(path)
        return shard.batch.column("source").to_pylist() == [*map(printable, sources)] and shard.is_whole()
    except (InputError, ValueError, LookupError, TypeError, pa.ArrowException):
        return False


def shard_bytes(structures: Sequence[Structure], edges: Int64[np.ndarray, " F"] | None = None) -> "pa.Buffer":
    """Return the content of a shard.

    Args:
        structures: its frames, at least one.
        edges: number of edges of each frame, if counted.
    """
    import pyarrow as pa

    facts = Facts.of(structures)
    numbers = [s.numbers.astype(np.uint8) for s in structures]
    has_forces = np.array([s.forces is not None for s in structures])
    forces = [s.forces for s in structures if s.forces is not None]
    stresses = [np.zeros(9) if s.stress is None else s.stress.ravel() for s in structures]
    columns: dict[str, pa.Array] = {
        "numbers": _lists(pa.array(np.concatenate(numbers)), facts.atoms),
        "positions": _vectors([s.positions for s in structures], facts.atoms),
        "cell": _fixed([s.cell.ravel() for s in structures], 9),
        "pbc": _fixed([s.pbc.astype(np.uint8) for s in structures], 3),
        "energy": pa.array(facts.energies, mask=np.isnan(facts.energies)),
        "forces": _vectors(forces, facts.atoms * has_forces, ~has_forces),
        "stress": _fixed(stresses, 9, ~facts.stressed),
        "info": pa.array([_as_json(s.info) for s in structures], pa.large_string()),
        "source": pa.array([printable(s.source) for s in structures], pa.large_string()),
        "force_squares": pa.array(facts.force_squares),
        "largest_force": pa.array(facts.largest_forces),
        "kinds": pa.array(facts.kinds),
        "elements": _lists(pa.array(facts.elements), facts.kinds),
        "counts": _lists(pa.array(facts.counts), facts.kinds),
        "digest": pa.array([row.tobytes() for row in facts.digests], pa.binary(DIGEST_BYTES)),
        "edges": pa.nulls(len(structures), pa.int64()) if edges is None else pa.array(edges),
    }
    units = {name: {"unit": UNITS[name]} if name in UNITS else None for name in columns}
    about = json.dumps({"format": "esendata", "version": VERSION, "units": UNITS}, ensure_ascii=False)
    schema = pa.schema(
        [pa.field(name, column.type, metadata=units[name]) for name, column in columns.items()],
        metadata={"esen": about},
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(list(columns.values()), schema=schema))
    return sink.getvalue()


def shard_name(number: int) -> str:
    """Return the file name of a shard.

    >>> shard_name(12)
    '00012.arrow'
    """
    return f"{number:05d}.arrow"


def file_checksum(path: Path) -> str:
    """Return the BLAKE2b checksum (16 bytes, hexadecimal) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def manifest_checksum(manifest: dict[str, Any]) -> str:
    """Return the BLAKE2b checksum of a manifest, without the key that holds it."""
    content = {key: value for key, value in manifest.items() if key != "blake2b"}
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()


def _is_shard(listed: Any) -> bool:
    """Whether an entry of a manifest says file, number of frames and checksum of a shard."""
    kinds = {"file": str, "frames": int, "blake2b": str}
    return isinstance(listed, dict) and all(isinstance(listed.get(key), kind) for key, kind in kinds.items())


@cache
def _note_without_checksums(path: Path) -> None:
    logger.warning(
        "%s: was made by an earlier esen without checksums of its index; convert again to have them", path
    )


def _numpy(array: Any) -> np.ndarray:
    """Return a view of an Arrow array of numbers without nulls.

    Arrow's own conversion imports pandas, which takes half a second.
    """
    content = array.buffers()[-1]
    kind = np.dtype(str(array.type).replace("double", "float64"))
    return np.frombuffer(content, dtype=kind, count=len(array), offset=array.offset * kind.itemsize)


def _lists(
    values: "pa.Array", counts: Int64[np.ndarray, " F"], missing: Bool[np.ndarray, " F"] | None = None
) -> "pa.Array":
    """Divide values among frames by their counts."""
    import pyarrow as pa

    ends = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
    return pa.LargeListArray.from_arrays(ends, values, mask=_mask(missing))


def _vectors(
    arrays: Sequence[np.ndarray],
    counts: Int64[np.ndarray, " F"],
    missing: Bool[np.ndarray, " F"] | None = None,
) -> "pa.Array":
    """Return vectors per atom; frames without them have no entry in `arrays`."""
    import pyarrow as pa

    flat = np.concatenate(arrays).ravel() if arrays else np.zeros(0)
    return _lists(pa.FixedSizeListArray.from_arrays(pa.array(flat), 3), counts, missing)


def _fixed(
    arrays: Sequence[np.ndarray], size: int, missing: Bool[np.ndarray, " F"] | None = None
) -> "pa.Array":
    """Return one array of `size` numbers per frame."""
    import pyarrow as pa

    flat = pa.array(np.concatenate(arrays))
    return pa.FixedSizeListArray.from_arrays(flat, size, mask=_mask(missing))


def _mask(missing: Bool[np.ndarray, " F"] | None) -> "pa.Array | None":
    import pyarrow as pa

    return None if missing is None else pa.array(missing)


def _as_json(info: dict[str, Any]) -> str:
    """Return JSON with NumPy's arrays as lists, and anything that JSON does not have as text."""
    text = json.dumps(
        info,
        ensure_ascii=False,
        default=lambda value: value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value),
    )
    return text.encode(errors="backslashreplace").decode()  # lone surrogates, as JSON writes them
