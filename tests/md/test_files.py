"""What a trajectory leaves on disk is read as it was written, and can be cut back."""

import math
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.io.trajectory import Trajectory

from esen.errors import InputError
from esen.md.engine import Snapshot
from esen.md.files import COLUMNS, OLD_COLUMNS, GrowingFrames, GrowingText, SystemFiles, frame_of, read_series
from tests.md.small import shapes, start_of


def frame(number: int) -> Atoms:
    start = start_of(shapes()["slab"])
    generator = np.random.default_rng(number)
    positions, momenta, forces = generator.normal(size=(3, 3, 3))
    return frame_of(start, Snapshot(positions, momenta, forces, -1.5 - number), 10 * number, 0.01 * number)


def energies(file: GrowingFrames) -> list[float]:
    return [float(atoms.get_potential_energy()) for atoms in ase.io.read(file.path, index=":")]


def test_text_grows_and_is_cut_back(tmp_path: Path) -> None:
    file = GrowingText(tmp_path / "a.csv", "head\n", fresh=True)
    beginning = file.length()
    file.append("Å 1\n")
    middle = file.length()
    file.append("2\n")
    assert file.path.read_text() == "head\nÅ 1\n2\n"
    assert GrowingText(file.path, "head\n", fresh=False).length() == len("head\nÅ 1\n2\n".encode())
    file.truncate(middle)
    file.append("3\n")
    assert file.path.read_text() == "head\nÅ 1\n3\n"
    file.truncate(beginning)
    assert file.path.read_text() == "head\n"
    for broken in (lambda: None, file.path.unlink):
        broken()
        with pytest.raises(InputError, match=r"a\.csv: .*shorter"):
            file.truncate(middle)
    assert GrowingText(tmp_path / "a.csv", "new\n", fresh=True).path.read_text() == "new\n"


def test_frames_of_ase_grow_and_are_cut_back(tmp_path: Path) -> None:
    file = GrowingFrames(tmp_path / "a.traj", fresh=True)
    assert file.length() == 0
    file.truncate(0)
    for number in range(4):
        file.append(frame(number))
    assert GrowingFrames(file.path, fresh=False).length() == 4
    before = ase.io.read(file.path, index=":")
    file.truncate(2)
    assert energies(file) == [-1.5, -2.5]
    file.append(frame(2))
    file.append(frame(3))
    for a, b in zip(before, ase.io.read(file.path, index=":"), strict=True):
        assert a == b
        assert a.info == b.info
        assert np.array_equal(a.get_momenta(), b.get_momenta())
        assert np.array_equal(a.get_forces(), b.get_forces())
    file.truncate(0)
    assert file.length() == 0
    file.append(frame(7))
    assert energies(file) == [-8.5]
    with pytest.raises(InputError, match=r"a\.traj: "):
        file.truncate(2)
    assert [path.name for path in tmp_path.iterdir()] == ["a.traj"]
    assert GrowingFrames(file.path, fresh=True).length() == 0


def test_a_cut_that_is_interrupted_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = GrowingFrames(tmp_path / "a.traj", fresh=True)
    for number in range(3):
        file.append(frame(number))
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        file.truncate(2)
    monkeypatch.undo()
    assert file.length() == 3
    file.truncate(1)
    assert energies(file) == [-1.5]


def test_a_damaged_trajectory_is_one_line(tmp_path: Path) -> None:
    file = GrowingFrames(tmp_path / "a.traj", fresh=True)
    for content in (b"", b"something else, and long enough to be read as a header of a file of frames"):
        file.path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.traj: "):
            file.truncate(1)


def test_frames_killed_in_the_middle_are_cut(tmp_path: Path) -> None:
    file = GrowingFrames(tmp_path / "a.traj", fresh=True)
    for number in range(3):
        file.append(frame(number))
    with file.path.open("ab") as half:
        half.write(b"half a frame")
    file.truncate(2)
    file.append(frame(5))
    assert energies(file) == [-1.5, -2.5, -6.5]


@pytest.mark.parametrize("kind", ["extxyz", "traj"])
def test_a_frame_has_everything(tmp_path: Path, kind: Any) -> None:
    files = SystemFiles(tmp_path / "slab", kind, fresh=True)
    for number in range(2):
        files.write_frame(frame(number))
    assert {path.name for path in tmp_path.iterdir()} == {"slab.csv", f"slab.{kind}"}
    assert len(files.growing) == 2
    for number, atoms in enumerate(ase.io.read(tmp_path / f"slab.{kind}", index=":")):
        expected = frame(number)
        assert atoms.get_potential_energy() == pytest.approx(-1.5 - number)
        for name in ("positions", "momenta", "forces", "masses"):
            got, wanted = (getattr(a, f"get_{name}")() for a in (atoms, expected))
            np.testing.assert_allclose(got, wanted, atol=1e-7, err_msg=name)
        assert (atoms.info["step"], atoms.info["time_ps"]) == (10 * number, 0.01 * number)
        assert atoms.pbc.tolist() == expected.pbc.tolist()
        assert atoms.get_chemical_formula() == "Al3"


def test_energies_are_read_as_they_were_written(tmp_path: Path) -> None:
    files = SystemFiles(tmp_path / "Cu.1", None, fresh=True)
    files.write_frame(frame(0))
    values = np.random.default_rng(0).normal(size=(50, 8)) * 10.0 ** np.arange(-20, 30).reshape(-1, 1)
    values[:, 0] = 10 * np.arange(50)
    values[:, 2] = values[:, 3] + values[:, 4]
    for part in (values[:20], values[20:]):
        files.write_rows([tuple(row) for row in part.tolist()])
    assert [path.name for path in tmp_path.iterdir()] == ["Cu.1.csv"]
    series = read_series(tmp_path / "Cu.1.csv", 4)
    assert len(series) == 50
    for name, column in {"step": 0, "time_ps": 1, "potential": 3, "kinetic": 4}.items():
        assert np.array_equal(getattr(series, name), values[:, column])
    assert np.array_equal(series.total, values[:, 3] + values[:, 4])
    assert series.atoms == 4
    assert series.shadow is not None
    assert series.angular_change is not None
    assert np.array_equal(series.shadow, values[:, 6])
    assert np.array_equal(series.angular_change, values[:, 7])


def test_energies_that_an_earlier_version_began_keep_their_columns(tmp_path: Path) -> None:
    (tmp_path / "Cu.csv").write_text(OLD_HEAD + "0,0.0,9.0,4.0,5.0,6.0\n")
    files = SystemFiles(tmp_path / "Cu", None, fresh=False)
    files.write_rows([(10, 0.01, 9.0, 4.0, 5.0, 6.0, 7.0, math.nan)])
    series = read_series(tmp_path / "Cu.csv", 4)
    assert (series.step.tolist(), series.shadow, series.angular_change) == ([0, 10], None, None)


def test_no_rows_are_no_error(tmp_path: Path) -> None:
    SystemFiles(tmp_path / "Cu", None, fresh=True)
    assert len(read_series(tmp_path / "Cu.csv", 1)) == 0


HEAD = ",".join(COLUMNS) + "\n"
OLD_HEAD = ",".join(OLD_COLUMNS) + "\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read as energies of a trajectory"),
        ("", "its first line is '', expected 'step,time_ps"),
        ("step,time\n1,2\n", "its first line is 'step,time'"),
        ("a,b,c,d,e,f\n1,2,9,4,5,6\n", "its first line is 'a,b,c,d,e,f', expected"),
        (HEAD + "1,2,3,4,5,6,7,8\n7,8\n", "cannot be read"),
        (HEAD + "1,2,3,4,5,six\n", "cannot be read"),
        (OLD_HEAD + "0,0,9,4,5,6\n1,1,9,4,5,6\n3,3,9,4,5,6\n", "row 3: the steps"),
        (OLD_HEAD + "0,0,9,4,5,6\n1,1,8,4,5,6\n2,2,9,4,5,6\n", "row 2: the total"),
        (HEAD + "0,0,9,4,5,\0\n", "cannot be read"),
    ],
)
def test_what_are_no_energies_is_one_line(tmp_path: Path, content: str | None, words: str) -> None:
    path = tmp_path / "Cu.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError) as error:
        read_series(path, 1)
    assert words in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    files = SystemFiles(folder / "a", "traj", fresh=True)
    (folder / "a.csv").unlink()
    folder.rmdir()
    with pytest.raises(OSError, match=r"a\.csv"):
        files.write_rows([(1.0,) * 8])
    with pytest.raises(OSError, match=r"a\.traj"):
        files.write_frame(frame(0))


def test_a_trajectory_is_ases_own(tmp_path: Path) -> None:
    files = SystemFiles(tmp_path / "a", "traj", fresh=True)
    files.write_frame(frame(0))
    with Trajectory(tmp_path / "a.traj") as frames:
        assert len(frames) == 1
