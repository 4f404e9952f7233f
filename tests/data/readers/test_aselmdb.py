import json
import zlib
from pathlib import Path

import lmdb
import numpy as np
import pytest

from esen.data.readers import Files, load_structures
from esen.data.readers.lmdb_file import Lmdb
from esen.errors import InputError

FORMATS = Path(__file__).parents[1] / "formats"
SAMPLE = FORMATS / "sample.aselmdb"


def packed(value):
    return zlib.compress(json.dumps(value).encode())


def array(values, dtype="float64"):
    values = np.asarray(values, dtype=dtype)
    return {"__ndarray__": [list(values.shape), dtype, values.ravel().tolist()]}


def row(energy, **others):
    return {
        "numbers": array([12, 8], "int64"),
        "positions": array([[0, 0, 0], [2, 0, 0]]),
        "cell": array(4 * np.eye(3)),
        "pbc": array([True] * 3, "bool"),
        "unique_id": "x",
        "energy": energy,
        "forces": array([[0, 0, 1], [0, 0, -1]]),
        **others,
    }


def write(path, rows, **reserved):
    content = {**rows, "nextid": max(rows, default=0) + 1, **reserved}
    return put(path, {str(k): v if isinstance(v, bytes) else packed(v) for k, v in content.items()})


def put(path, content):
    with (
        lmdb.open(str(path), subdir=False, map_size=1 << 20, lock=False) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, value in content.items():
            transaction.put(key.encode(), value)
    return path


def read(path, **options):
    return load_structures([Files(str(path), **options)])


def test_real_rows():
    json_frames = {s.info["frame_id"]: s for s in read(FORMATS / "mptrj.json")}
    frames = read(SAMPLE)
    assert len(frames) == 8
    both = [(s, json_frames[s.info["sid"]]) for s in frames if s.info["sid"] in json_frames]
    assert len(both) == 3
    for s, expected in both:  # the JSON is in kBar and VASP's sign, the rows are in ASE's
        np.testing.assert_allclose(s.stress, expected.stress, atol=1e-12)
        np.testing.assert_array_equal(s.forces, expected.forces)
        assert s.energy == expected.energy
        np.testing.assert_array_equal(s.numbers, expected.numbers)


def test_voigt_order_numbers_and_deleted_rows(tmp_path):
    rows = {n: row(-float(n), stress=array([1, 2, 3, 4, 5, 6])) for n in (1, 3, 10, 11)}
    del rows[3]["stress"]
    path = write(tmp_path / "a.aselmdb", rows, deleted_ids=[2, *range(4, 10)])
    frames = read(path)
    assert [s.energy for s in frames] == [-1, -3, -10, -11]  # by number, not by text
    assert frames[0].stress.tolist() == [[1, 6, 5], [6, 2, 4], [5, 4, 3]]
    assert frames[1].stress is None
    assert frames[2].source == f"{path}, frame 2"


def test_data_and_pairs_are_kept_and_labels_may_be_missing(tmp_path):
    content = row(-1.0, data={"sid": "agm1_2_0", "charges": array([1.0, -1.0])}, key_value_pairs={"spin": 2})
    write(tmp_path / "a.aselmdb", {1: content})
    (frame,) = read(tmp_path)
    assert frame.info["sid"] == "agm1_2_0"
    assert frame.info["spin"] == 2
    del content["forces"]
    write(tmp_path / "b.aselmdb", {1: content})
    with pytest.raises(InputError, match=r"b\.aselmdb, frame 0: .*'forces'"):
        read(tmp_path)


def test_folders_globs_and_no_trace(tmp_path):
    for name in ("b", "a"):
        write(tmp_path / f"{name}.aselmdb", {1: row(-float(ord(name)))})
    np.savez(tmp_path / "metadata.npz", natoms=np.array([2, 2]))
    for pattern in (tmp_path, tmp_path / "*"):
        assert [s.energy for s in read(pattern)] == [-97, -98]
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["a.aselmdb", "b.aselmdb", "metadata.npz"]  # no lock file


def test_a_file_that_is_open_elsewhere(tmp_path):
    path = write(tmp_path / "a.aselmdb", {1: row(-1.0), 2: row(-2.0)})
    path.chmod(0o444)
    with lmdb.open(str(path), subdir=False, readonly=True, lock=False) as environment, environment.begin():
        pass
    assert len(read(path)) == 2
    assert len(read(path)) == 2


BAD = {
    "missing row": ({1: row(-1.0), 3: row(-1.0)}, {}, "frame 1: row 2 "),
    "damaged row": ({1: b"nonsense"}, {}, "frame 0: .*cannot be read"),
    "no geometry": ({1: {"energy": -1.0}}, {}, "frame 0: .*'numbers'"),
    "damaged list": ({1: row(-1.0)}, {"deleted_ids": 7}, "'deleted_ids'"),
}


@pytest.mark.parametrize(("rows", "reserved", "message"), BAD.values(), ids=BAD)
def test_bad_rows(tmp_path, rows, reserved, message):
    with pytest.raises(InputError, match=message) as refusal:
        read(write(tmp_path / "a.aselmdb", rows, **reserved))
    assert str(refusal.value).startswith(str(tmp_path / "a.aselmdb"))


def test_other_files(tmp_path):
    (tmp_path / "text.aselmdb").write_text("no database")
    with pytest.raises(InputError, match=r"text\.aselmdb: .*LMDB"):
        read(tmp_path / "text.aselmdb")
    put(tmp_path / "other.aselmdb", {"k": b"v"})
    with pytest.raises(InputError, match="'nextid'"):
        read(tmp_path / "other.aselmdb")


def test_files_that_are_cut_off_or_damaged(tmp_path):
    path = tmp_path / "a.aselmdb"
    content = SAMPLE.read_bytes()
    page = 4096
    damaged = {
        "empty": b"",
        "cut in the header": content[:100],
        "cut by a page": content[: len(content) - page],
        "half": content[: len(content) // 2],
        "another magic number": content[:16] + b"abcd" + content[20:],
        "rows beyond the file": content[: page * 2] + bytes(len(content) - page * 2),
        "absurd page size": content[:40] + b"\xff" * 4 + content[44:],
    }
    for name, bad in damaged.items():
        path.write_bytes(bad)
        with pytest.raises(InputError, match=r"a\.aselmdb") as refusal:
            read(path)
        assert "\n" not in str(refusal.value), name
    (tmp_path / "b.aselmdb").mkdir()
    with pytest.raises(InputError):
        read(tmp_path / "b.aselmdb")
    write(tmp_path / "c.aselmdb", {1: row(-1.0)}, nextid=10**12)
    with pytest.raises(InputError, match="'nextid' says 999999999999 rows"):
        read(tmp_path / "c.aselmdb")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"numbers": array([12.5, 8])}, "12.5"),
        ({"numbers": array([-12, 8], "int64")}, "-12"),
        ({"forces": array([[0, 0, 1]])}, r"forces.*\(2, 3\)"),
        ({"energy": "low"}, "low"),
        ({"positions": {"__ndarray__": [[2, 3], "V999999999", [0] * 6]}}, "V999999999"),
        ({"positions": {"__ndarray__": [[2, 3], "complex128", [0] * 6]}}, "complex128"),
    ],
)
def test_numbers_of_another_kind(tmp_path, change, words):
    with pytest.raises(InputError, match=f"frame 0.*{words}"):
        read(write(tmp_path / "a.aselmdb", {1: row(-1.0) | change}))


def test_pages_of_a_large_file(tmp_path):
    """Branches, values in pages of their own, deleted and changed rows."""
    path = tmp_path / "a.aselmdb"
    expected = {}
    with lmdb.open(str(path), subdir=False, map_size=1 << 24, lock=False) as environment:
        for step in range(4):
            with environment.begin(write=True) as transaction:
                for number in range(1 + step, 700, 1 + step):
                    key, value = str(number).encode(), bytes([number % 256]) * (number * (7 + step))
                    transaction.put(key, value)
                    expected[key] = value
                for number in range(5, 700, 11):
                    transaction.delete(str(number).encode())
                    expected.pop(str(number).encode(), None)
    with path.open("rb") as file:
        rows = Lmdb(file, "a")
        assert rows.entries == len(expected)
        assert all(rows.get(key) == value for key, value in expected.items())
        assert rows.get(b"5") is None
        assert rows.get(b"zzz") is None
