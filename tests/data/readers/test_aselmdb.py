import json
import zlib
from pathlib import Path

import lmdb
import numpy as np
import pytest

from esen.data.readers import Files, load_structures
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
