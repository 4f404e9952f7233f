"""Conversion: nothing lost, nothing doubled, wherever it is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from esen.data.convert import Settings, convert
from esen.data.frames import Facts
from esen.data.readers import Files, Reading, load_structures
from esen.data.training_set import MappedFrames
from esen.errors import InputError
from tests.train.small import crystals, molecule, write_frames

SETTINGS = Settings(Reading(), frames_per_shard=4)


def files(folder, *names):
    return [Files(str(folder / name)) for name in names]


@pytest.fixture
def frames(tmp_path):
    """Ten crystals and seven molecules without stress, in two files."""
    write_frames(tmp_path / "a.xyz", crystals(10))
    write_frames(tmp_path / "b.extxyz", [molecule(8), molecule(8, 12)] * 3 + [molecule(12)])
    return files(tmp_path, "a.xyz", "b.extxyz")


def check(made, sources):
    expected = load_structures(sources)
    assert len(made) == len(expected)
    np.testing.assert_array_equal(made.facts.digests, Facts.of(expected).digests)
    assert [s.source for s in made] == [s.source for s in expected]


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_frames_in_order(frames, tmp_path):
    seen = []
    made = convert(frames, tmp_path / "o", SETTINGS, progress=lambda part, count: seen.append((part, count)))
    check(made, frames)
    assert [count for _, count in seen] == [4, 8, 12, 16, 17]
    assert [part for part, _ in seen] == sorted(part for part, _ in seen)
    assert seen[-1][0] == 1.0
    manifest = made.manifest
    assert [shard["frames"] for shard in manifest["shards"]] == [4, 4, 4, 4, 1]
    assert (manifest["frames"], manifest["atoms"]) == (17, 20 + 3 + 6 + 1)
    assert manifest["elements"] == {"O": 10 + 6, "Mg": 10 + 3 + 1}
    assert manifest["labels"] == {"energy": 17, "forces": 17, "stress": 10}
    assert [file["bytes"] for file in manifest["files"]] == [os.path.getsize(f.path) for f in frames]  # noqa: PTH202


def test_several_processes_make_the_same_files(frames, tmp_path):
    convert(frames, tmp_path / "one", SETTINGS)
    check(convert(frames, tmp_path / "two", SETTINGS, processes=2), frames)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def written(folder):
    """The shards, and when each was written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("shards/*.arrow")}


@pytest.mark.parametrize("parts", [0, 1, 3, 5])
def test_it_goes_on_after_any_shard(frames, tmp_path, parts):
    whole = contents(convert(frames, tmp_path / "whole", SETTINGS).path)
    made = []

    def stop(done, count):
        made.append(count)
        if len(made) == parts:
            raise KeyboardInterrupt

    if parts:
        with pytest.raises(KeyboardInterrupt):
            convert(frames, tmp_path / "o", SETTINGS, progress=stop)
        (tmp_path / "o" / "shards" / ".00002.arrow.0123abcd.partial").write_bytes(b"half a shard")
    earlier = written(tmp_path / "o")
    assert len(earlier) == parts
    convert(frames, tmp_path / "o", SETTINGS)
    assert contents(tmp_path / "o") == whole
    finished = written(tmp_path / "o")
    assert earlier.items() <= finished.items()  # what was there is not written again
    convert(frames, tmp_path / "o", SETTINGS)
    assert written(tmp_path / "o") == finished


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "another"])
def test_a_damaged_shard_of_an_unfinished_set_is_converted_again(frames, tmp_path, damage):
    whole = contents(convert(frames, tmp_path / "whole", SETTINGS).path)
    convert(frames, tmp_path / "o", SETTINGS)
    (tmp_path / "o" / "manifest.json").unlink()
    first, second = (tmp_path / "o" / "shards" / f"0000{number}.arrow" for number in (0, 1))
    content = first.read_bytes()
    energy = np.float64(load_structures(frames)[2].energy).tobytes()
    place = content.index(energy)
    first.write_bytes(
        {
            "cut": content[:-100],
            "empty": b"",
            "flipped": content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :],
            "another": second.read_bytes(),
        }[damage]
    )
    convert(frames, tmp_path / "o", SETTINGS)
    assert contents(tmp_path / "o") == whole


SCRIPT = """
import sys
from pathlib import Path
from esen.data.convert import Settings, convert
from esen.data.readers import Files, Reading
if __name__ == "__main__":
    source, output, processes = sys.argv[1:]
    settings = Settings(Reading(), frames_per_shard=20)
    convert([Files(source)], Path(output), settings, processes=int(processes))
"""


def test_killed_without_warning(tmp_path):
    write_frames(tmp_path / "some.xyz", crystals(50))
    (tmp_path / "a.xyz").write_text((tmp_path / "some.xyz").read_text() * 60)
    (tmp_path / "run.py").write_text(SCRIPT)
    output = tmp_path / "o.esendata"
    command = [sys.executable, str(tmp_path / "run.py"), str(tmp_path / "a.xyz"), str(output), "2"]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while (
        len(list(output.glob("shards/*.arrow"))) < 3
        and time.monotonic() < deadline
        and process.poll() is None
    ):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (output / "manifest.json").exists()
    with pytest.raises(InputError, match="not finished"):
        MappedFrames(output)
    sources = files(tmp_path, "a.xyz")
    made = convert(sources, output, Settings(Reading(), frames_per_shard=20))
    assert len(made) == 3000
    check(made, sources)


def test_other_sources_need_another_folder(frames, tmp_path):
    convert(frames, tmp_path / "o", SETTINGS)
    with pytest.raises(InputError, match=r"sources, files.*--restart"):
        convert(frames[:1], tmp_path / "o", SETTINGS)
    with pytest.raises(InputError, match="frames_per_shard"):
        convert(frames, tmp_path / "o", Settings(Reading(), frames_per_shard=5))
    check(convert(frames[:1], tmp_path / "o", SETTINGS, resume=False), frames[:1])
    os.utime(tmp_path / "a.xyz", (1, 1))
    with pytest.raises(InputError, match="files"):
        convert(frames[:1], tmp_path / "o", SETTINGS)


def test_a_folder_of_something_else_is_not_touched(frames, tmp_path):
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "thesis.tex").touch()
    for resume in (True, False):
        with pytest.raises(InputError, match=str(tmp_path / "o")):
            convert(frames, tmp_path / "o", SETTINGS, resume=resume)
    assert [p.name for p in (tmp_path / "o").iterdir()] == ["thesis.tex"]


def test_the_bad_frame_is_named_and_the_rest_is_kept(tmp_path):
    bad = replace(molecule(8, 8), forces=np.full((2, 3), np.nan))
    write_frames(tmp_path / "a.xyz", [*crystals(9), bad])
    with pytest.raises(InputError, match=r"a\.xyz, frame 9: forces of atom 0 "):
        convert(files(tmp_path, "a.xyz"), tmp_path / "o", SETTINGS, processes=2)
    assert (tmp_path / "o" / "shards" / "00000.arrow").exists()


def test_labels_that_are_missing_and_labels_under_another_name(tmp_path, caplog):
    lenient = Settings(Reading(required=()))
    names = {"energy": "dft_energy", "forces": "dft_forces", "stress": "dft_stress"}
    write_frames(tmp_path / "a.xyz", crystals(2), names)
    sources = files(tmp_path, "a.xyz")
    with pytest.raises(InputError, match=r"frame 0: .*data\.energy_key: dft_energy"):
        convert(sources, tmp_path / "o", lenient)
    keys = Reading("dft_energy", "none", "stress", required=())
    made = convert(sources, tmp_path / "p", Settings(keys))
    assert made.manifest["labels"] == {"energy": 2, "forces": 0, "stress": 0}
    assert made[0].forces is None
    assert "write data.stress_key: dft_stress" in caplog.text
    with pytest.raises(InputError, match=r"'sigma'.*dft_stress"):
        convert(sources, tmp_path / "q", Settings(Reading("dft_energy", "dft_forces", "sigma")))


def test_a_set_is_not_converted_again(frames, tmp_path):
    made = convert(frames, tmp_path / "o", SETTINGS)
    with pytest.raises(InputError, match="o: "):
        convert([Files(str(made.path))], tmp_path / "p", SETTINGS)
    with pytest.raises(InputError, match="esendata, not extxyz"):
        load_structures([Files(str(made.path), "extxyz")])


def test_slices_and_nothing(frames, tmp_path):
    made = convert([Files(frames[0].path, frames="1::4")], tmp_path / "o", SETTINGS)
    assert [s.source.rsplit(" ", 1)[1] for s in made] == ["1", "5", "9"]
    with pytest.raises(InputError, match="'20:'"):
        convert([Files(frames[0].path, frames="20:")], tmp_path / "p", SETTINGS)


def test_a_set_is_a_source_as_any_other(frames, tmp_path):
    convert(frames, tmp_path / "o.esendata", SETTINGS)
    expected = [s.energy for s in load_structures(frames)]
    assert [s.energy for s in load_structures(files(tmp_path, "o.esendata"))] == expected
    assert [
        s.energy for s in load_structures([Files(str(tmp_path / "*.esendata"), frames="::5")])
    ] == expected[::5]
    assert len(load_structures([Files(str(tmp_path))])) == 2 * len(
        expected
    )  # the folder holds the files, too


def test_the_manifest_is_read_by_anyone(frames, tmp_path):
    convert(frames, tmp_path / "o", SETTINGS)
    plan, manifest = (json.loads((tmp_path / "o" / f"{n}.json").read_text()) for n in ("plan", "manifest"))
    assert plan.items() <= manifest.items()
    assert manifest["units"]["stress"] == "eV/Å³, (1/V) dE/dε, tension positive, row by row"
