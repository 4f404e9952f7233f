"""The memory-mapped set: what goes in comes out, whatever has no label."""

import json
import pickle
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import esen.data.training_set
from esen.data.convert import Settings, convert
from esen.data.frames import Facts, digest
from esen.data.readers import Files, Reading
from esen.data.training_set import UNITS, MappedFrames, Shard, is_esendata, open_shard, shard_bytes
from esen.errors import InputError
from tests.strategies import structures
from tests.train.small import crystals, write_frames

UNLABELLED = [replace(s, energy=None, forces=None, stress=None) for s in crystals(2)]


@given(st.lists(structures(labels=True) | structures(), min_size=1, max_size=5))
def test_every_bit_comes_back(tmp_path_factory, frames):
    path = tmp_path_factory.mktemp("shard") / "a.arrow"
    path.write_bytes(shard_bytes(frames))
    shard, facts = Shard(path), Facts.of(frames)
    assert len(shard) == len(frames)
    for i, s in enumerate(frames):
        back = shard.structure(i, energy=facts.energies[i], stressed=facts.stressed[i])
        assert digest(back) == digest(s)
        assert (back.numbers.dtype, back.pbc.dtype) == (np.int64, np.bool_)
        assert (back.info, back.source) == (s.info, s.source)
    columns = shard.facts()
    for name in set(columns) - {"edges"}:
        np.testing.assert_array_equal(columns[name], getattr(facts, name), err_msg=name)
    shard.release()
    assert digest(shard.structure(0, energy=facts.energies[0], stressed=facts.stressed[0])) == digest(
        frames[0]
    )


@pytest.mark.parametrize("frames", [crystals(2), UNLABELLED], ids=["labels", "no labels"])
def test_types_and_units_in_the_file(tmp_path, frames):
    (tmp_path / "a.arrow").write_bytes(shard_bytes(frames))
    schema = Shard(tmp_path / "a.arrow").batch.schema
    assert {field.name: str(field.type) for field in schema} == {
        "numbers": "large_list<item: uint8>",
        "positions": "large_list<item: fixed_size_list<item: double>[3]>",
        "cell": "fixed_size_list<item: double>[9]",
        "pbc": "fixed_size_list<item: uint8>[3]",
        "energy": "double",
        "forces": "large_list<item: fixed_size_list<item: double>[3]>",
        "stress": "fixed_size_list<item: double>[9]",
        "info": "large_string",
        "source": "large_string",
        "force_squares": "double",
        "largest_force": "double",
        "kinds": "int64",
        "elements": "large_list<item: uint8>",
        "counts": "large_list<item: int32>",
        "digest": "fixed_size_binary[16]",
        "edges": "int64",
    }
    assert json.loads(schema.metadata[b"esen"])["units"] == UNITS
    assert schema.field("forces").metadata == {b"unit": "eV/Å".encode()}


def test_nothing_is_copied(tmp_path):
    (tmp_path / "a.arrow").write_bytes(shard_bytes(crystals(2)))
    frame = Shard(tmp_path / "a.arrow").structure(1, energy=0.0, stressed=True)
    for array in (frame.positions, frame.forces, frame.cell, frame.stress):
        assert not array.flags.owndata
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0.0


@pytest.fixture
def training_set(tmp_path):
    write_frames(tmp_path / "a.xyz", crystals(7))
    return convert(
        [Files(str(tmp_path / "a.xyz"))], tmp_path / "a.esendata", Settings(Reading(), 3.0, 3)
    ).path


def test_frames_by_number(training_set, monkeypatch):
    monkeypatch.setattr(esen.data.training_set, "OPEN_SHARDS", 2)
    monkeypatch.setattr(esen.data.training_set, "RELEASE_EVERY", 3)
    frames = MappedFrames(training_set, weight=0.25)
    assert len(frames) == 7
    for index in np.random.default_rng(0).integers(0, 7, 40).tolist():
        assert digest(frames[index]) == frames.facts.digests[index].tobytes()
        assert frames[index].energy == pytest.approx(crystals(7)[index].energy, abs=1e-7)
    assert frames[-1].source.endswith("a.xyz, frame 6")
    assert frames.facts.weights.tolist() == [0.25] * 7
    copy = pickle.loads(pickle.dumps(frames))
    assert digest(copy[3]) == digest(frames[3])
    assert copy.weight == 0.25


def test_edges_are_known_at_their_cutoff(training_set):
    from esen.graph.batch import make_graph

    frames = MappedFrames(training_set)
    assert frames.edges(3.0).tolist() == [make_graph(s, 3.0).num_edges for s in frames]
    assert frames.edges(4.0) is None


def test_damage_is_found(training_set):
    assert MappedFrames(training_set).damaged() == []
    path = training_set / "shards" / "00001.arrow"
    content = path.read_bytes()
    path.write_bytes(content[:200] + b"x" + content[201:])
    assert MappedFrames(training_set).damaged() == [str(path)]
    path.write_bytes(content[:100])
    with pytest.raises(InputError, match=r"00001\.arrow"):
        open_shard(path)
    path.unlink()
    with pytest.raises(InputError, match=r"00001\.arrow"):
        MappedFrames(training_set)[4]
    (training_set / "index" / "atoms.npy").unlink()
    with pytest.raises(InputError, match="index"):
        MappedFrames(training_set).facts  # noqa: B018


def content_of(path):
    """Everything that a training or a command reads of a set, in a form that can be compared to the bit."""
    frames = MappedFrames(path)
    facts = [column.tobytes() for column in vars(frames.facts).values() if isinstance(column, np.ndarray)]
    read = [(digest(frame), frame.info, frame.source) for frame in frames]
    return facts, read, frames.edges(3.0).tobytes()


@pytest.mark.parametrize("count", [20, pytest.param(400, marks=pytest.mark.slow)])
def test_a_bit_that_flipped_is_noticed_or_changes_nothing(training_set, count):
    expected, generator = content_of(training_set), random.Random(1)
    files = sorted(path for path in training_set.rglob("*.*") if path.stat().st_size and path.is_file())
    harmless = 0
    for _ in range(count):
        path = generator.choice(files)
        sound = path.read_bytes()
        damaged = bytearray(sound)
        damaged[generator.randrange(len(sound))] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        try:
            assert content_of(training_set) == expected
            harmless += path.name != "plan.json"
        except InputError as error:
            assert len(str(error).splitlines()) == 1
            assert str(training_set) in str(error)
        path.write_bytes(sound)
    assert harmless <= 0.05 * count


def test_shards_that_are_cut_short_or_in_another_order(training_set):
    first, second = (training_set / "shards" / name for name in ("00000.arrow", "00001.arrow"))
    one, two = first.read_bytes(), second.read_bytes()
    for content in (one[:-8], two, b""):
        first.write_bytes(content)
        with pytest.raises(InputError, match=r"00000\.arrow"):
            MappedFrames(training_set)[0]
    assert digest(MappedFrames(training_set)[3]) == MappedFrames(training_set).facts.digests[3].tobytes()


def test_a_frame_that_changes_after_its_shard_was_opened(training_set):
    frames = MappedFrames(training_set)
    energies = [frame.energy for frame in frames]
    path = training_set / "shards" / "00000.arrow"
    place = path.read_bytes().index(frames[1].positions.tobytes())
    with path.open("rb+") as file:
        file.seek(place + 5)
        file.write(b"\x77")
    with pytest.raises(InputError, match=r"00000\.arrow: frame 1 "):
        frames[1]
    assert frames[0].energy == energies[0]


@pytest.mark.parametrize(
    "shards", [None, [], [1], [{"file": "00000.arrow"}], [{"file": 1, "frames": 2, "blake2b": "0"}]], ids=str
)
def test_a_set_without_checksums_is_used_with_a_note(training_set, shards, caplog):
    expected = content_of(training_set)
    manifest = json.loads((training_set / "manifest.json").read_text())
    earlier = {key: value for key, value in manifest.items() if key not in {"blake2b", "index"}}
    (training_set / "manifest.json").write_text(json.dumps(earlier))
    for _ in range(2):
        assert content_of(training_set) == expected
    assert [str(training_set) in record.getMessage() for record in caplog.records] == [True]
    (training_set / "manifest.json").write_text(json.dumps(earlier | {"shards": shards}))
    with pytest.raises(InputError, match=r"manifest\.json"):
        MappedFrames(training_set)


def test_what_is_no_set(training_set, tmp_path):
    assert is_esendata(training_set)
    assert not is_esendata(tmp_path)
    with pytest.raises(InputError, match=r"manifest\.json"):
        MappedFrames(tmp_path)
    manifest = training_set / "manifest.json"
    later = json.loads(manifest.read_text()) | {"version": 9, "esen": "7.0"}
    manifest.write_text(json.dumps(later))
    with pytest.raises(InputError, match=r"esen 7\.0 in format 9"):
        MappedFrames(training_set)
    manifest.write_text("{")
    with pytest.raises(InputError, match=r"manifest\.json"):
        MappedFrames(training_set)
    manifest.unlink()
    with pytest.raises(InputError, match=r"not finished .*3 "):
        MappedFrames(training_set)
