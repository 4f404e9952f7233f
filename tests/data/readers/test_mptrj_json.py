import gzip
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import esen.data.readers.mptrj_json
from esen.data.readers import Files, load_structures
from esen.data.readers.mptrj_json import mptrj_frames
from esen.errors import InputError

SAMPLE = Path(__file__).parents[1] / "formats" / "mptrj.json"
KBAR = 0.1 * 0.006241509125883258  # eV/Å³


def read(path, **options):
    return load_structures([Files(str(path), "mptrj_json", **options)])


def test_units_signs_and_names():
    frames = read(SAMPLE)
    assert [s.info["frame_id"] for s in frames] == ["mp-1436393-0-0", "mp-1217811-1-0", "mp-1220321-1-3"]
    assert frames[0].info["mp_id"] == "mp-1070925"
    second = frames[1]
    assert second.energy == -24.86681267
    assert second.pbc.all()
    raw = json.loads(SAMPLE.read_text())["mp-1217811"]["mp-1217811-1-0"]
    np.testing.assert_allclose(second.stress, -KBAR * np.array(raw["stress"]), rtol=1e-12)
    assert second.forces.tolist() == raw["force"]
    assert second.cell.tolist() == raw["structure"]["lattice"]["matrix"]
    inside = np.array([site["abc"] for site in raw["structure"]["sites"]])
    np.testing.assert_allclose(second.positions, inside @ second.cell, atol=1e-6)


@pytest.mark.parametrize("chunk", [100, 777, 5000])
def test_the_parts_in_which_it_is_read_do_not_matter(chunk, monkeypatch):
    whole = [r.content for r in mptrj_frames(SAMPLE)]
    monkeypatch.setattr(esen.data.readers.mptrj_json, "CHUNK", chunk)
    for one, other in zip(whole, (r.content for r in mptrj_frames(SAMPLE)), strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
        assert one.source == other.source


def test_only_a_part_is_in_memory(tmp_path, monkeypatch):
    content = json.loads(SAMPLE.read_text())
    path = tmp_path / "a.json"
    path.write_text(json.dumps({f"{key}-{n}": value for n in range(100) for key, value in content.items()}))
    monkeypatch.setattr(esen.data.readers.mptrj_json, "CHUNK", 4096)
    tracemalloc.start()
    done = [raw.done for raw in mptrj_frames(path)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(done) == 300
    assert peak < path.stat().st_size / 2
    assert done[0] < 0.1
    assert done == sorted(done)
    assert done[-1] == 1.0


def edited(tmp_path, change):
    content = json.loads(SAMPLE.read_text())
    change(content["mp-1217811"]["mp-1217811-1-0"])
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    return path


def test_corrected_energies_and_missing_labels(tmp_path):
    def change(frame):
        frame |= {"corrected_total_energy": -20.0, "stress": None}

    path = edited(tmp_path, change)
    frames = read(path)
    assert frames[1].stress is None
    assert frames[0].stress is not None
    assert read(path, frames="1:2", energy_key="corrected_total_energy")[0].energy == -20.0
    with pytest.raises(InputError, match=r"mp-1070925/mp-1436393-0-0: .*'corrected_total_energy'"):
        read(path, energy_key="corrected_total_energy")


def test_compressed(tmp_path):
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(SAMPLE.read_bytes()))
    assert len(load_structures([Files(str(path))])) == 3


def drop_structure(frame):
    del frame["structure"]


def mix(frame):
    frame["structure"]["sites"][0]["species"].append({"element": "O", "occu": 0.5})


def lose_a_force(frame):
    frame["force"] = frame["force"][:1]


def invent(frame):
    frame["structure"]["sites"][0]["species"][0]["element"] = "Qq"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_structure, "'structure'"),
        (mix, "disordered"),
        (lose_a_force, "force: "),
        (invent, "'Qq'"),
    ],
)
def test_the_bad_frame_is_named(tmp_path, change, message):
    with pytest.raises(InputError, match=f"mp-1217811/mp-1217811-1-0: .*{message}"):
        read(edited(tmp_path, change))


@pytest.mark.parametrize("length", [1, 40, 2000, -1, -2])
def test_cut_off(tmp_path, length):
    path = tmp_path / "a.json"
    path.write_text(SAMPLE.read_text().strip()[:length])
    with pytest.raises(InputError, match=r"a\.json") as refusal:
        read(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "text", ["[1, 2]", '{"a": 3}', '{"mp-1": {"x" 3}}', "{}", '{"mp-1": {"f": {"structure": 1}}}']
)
def test_other_json(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"a\.json"):
        read(path)
