"""One file of a training set: an Arrow IPC file with a row a frame, units in its schema, read without copying."""

import json
import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from esen.data.facts import DIGEST_BYTES, Facts
from esen.data.structure import Structure

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
_TRIPLES = pa.large_list(pa.list_(pa.float64(), 3))
SCHEMA = pa.schema(
    [
        pa.field(name, kind, metadata={"unit": UNITS[name]} if name in UNITS else None)
        for name, kind in (
            ("numbers", pa.large_list(pa.uint8())),
            ("positions", _TRIPLES),
            ("cell", pa.list_(pa.float64(), 9)),
            ("pbc", pa.list_(pa.uint8(), 3)),
            ("energy", pa.float64()),
            ("forces", _TRIPLES),
            ("stress", pa.list_(pa.float64(), 9)),
            ("info", pa.large_string()),
            ("source", pa.large_string()),
            ("force_squares", pa.float64()),
            ("largest_force", pa.float64()),
            ("kinds", pa.int64()),
            ("elements", pa.large_list(pa.uint8())),
            ("counts", pa.large_list(pa.int32())),
            ("digest", pa.binary(DIGEST_BYTES)),
            ("edges", pa.int64()),
        )
    ],
    metadata={
        "esen": json.dumps({"format": "esendata", "version": VERSION, "units": UNITS}, ensure_ascii=False)
    },
)


def shard_bytes(structures: Sequence[Structure], edges: Int64[np.ndarray, " F"] | None = None) -> pa.Buffer:
    """The file that holds these frames.

    Args:
        structures: at least one.
        edges: how many each has, if counted.
    """
    facts = Facts.of(structures)
    has_forces = [s.forces is not None for s in structures]
    forces = [s.forces for s in structures if s.forces is not None]
    stresses = [np.zeros(9) if s.stress is None else s.stress.ravel() for s in structures]
    columns: dict[str, pa.Array] = {
        "numbers": _ragged([s.numbers.astype(np.uint8) for s in structures]),
        "positions": _triples([s.positions for s in structures], facts.atoms),
        "cell": _fixed([s.cell.ravel() for s in structures], 9),
        "pbc": _fixed([s.pbc.astype(np.uint8) for s in structures], 3),
        "energy": pa.array(facts.energies, mask=np.isnan(facts.energies)),
        "forces": _triples(forces, facts.atoms * has_forces, ~np.array(has_forces)),
        "stress": _fixed(stresses, 9, ~facts.stressed),
        "info": pa.array([_as_json(s.info) for s in structures], pa.large_string()),
        "source": pa.array([s.source for s in structures], pa.large_string()),
        "force_squares": pa.array(facts.force_squares),
        "largest_force": pa.array(facts.largest_forces),
        "kinds": pa.array(facts.kinds),
        "elements": pa.LargeListArray.from_arrays(_ends(facts.kinds), pa.array(facts.elements)),
        "counts": pa.LargeListArray.from_arrays(_ends(facts.kinds), pa.array(facts.counts)),
        "digest": pa.array([row.tobytes() for row in facts.digests], pa.binary(DIGEST_BYTES)),
        "edges": pa.nulls(len(structures), pa.int64()) if edges is None else pa.array(edges),
    }
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, SCHEMA) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(list(columns.values()), schema=SCHEMA))
    return sink.getvalue()


class Shard:
    """A file of frames, mapped into memory: what is not looked at is not read.

    Raises:
        OSError: the file cannot be opened.
        pa.ArrowInvalid: it is no Arrow file.
    """

    def __init__(self, path: Path) -> None:
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
        """A frame, its arrays views of the file.

        Args:
            row: of the file.
            energy: from the index; NaN where there is none.
            stressed: from the index.
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
            info=json.loads(self.batch.column("info")[row].as_py()),
            source=self.batch.column("source")[row].as_py(),
        )

    def facts(self) -> dict[str, np.ndarray]:
        """The columns of the index; copies."""
        column = self.batch.column
        edges = column("edges")
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
            "digests": np.frombuffer(column("digest").buffers()[1], np.uint8)
            .reshape(-1, DIGEST_BYTES)
            .copy(),
            "edges": np.full(len(self), -1) if edges.null_count else _numpy(edges).copy(),
        }

    def release(self) -> None:
        """Give back the memory of what was looked at; it is mapped again when it is needed."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self.map.madvise(mmap.MADV_DONTNEED)


def _numpy(array: Any) -> np.ndarray:
    """A view of numbers without nulls. pyarrow's own way imports pandas, half a second for nothing."""
    content = array.buffers()[-1]
    kind = np.dtype(str(array.type).replace("double", "float64"))
    return np.frombuffer(content, dtype=kind, count=len(array), offset=array.offset * kind.itemsize)


def _ends(counts: np.ndarray) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


def _ragged(arrays: Sequence[np.ndarray]) -> pa.Array:
    return pa.LargeListArray.from_arrays(
        _ends(np.array([len(a) for a in arrays])), pa.array(np.concatenate(arrays))
    )


def _triples(
    arrays: Sequence[np.ndarray], counts: Int64[np.ndarray, " F"], missing: np.ndarray | None = None
) -> pa.Array:
    flat = np.concatenate(arrays).ravel() if arrays else np.zeros(0)
    values = pa.FixedSizeListArray.from_arrays(pa.array(flat), 3)
    mask = None if missing is None else pa.array(missing)
    return pa.LargeListArray.from_arrays(_ends(counts), values, mask=mask)


def _fixed(arrays: Sequence[np.ndarray], size: int, missing: np.ndarray | None = None) -> pa.Array:
    mask = None if missing is None else pa.array(missing)
    return pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(arrays)), size, mask=mask)


def _as_json(info: dict[str, Any]) -> str:
    return json.dumps(info, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    """What JSON does not know: numbers and arrays of numpy; anything else as text."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
