import bz2
import gzip
import lzma

import numpy as np
import pytest

from esen.data.readers.formats import FORMATS
from esen.errors import InputError

COMMENT = (
    'Lattice="4 0 0 1 5 0 0 0 6" Properties=species:S:1:pos:R:3:forces:R:3:tag:I:1 '
    'energy=-3.5 config_type=bulk pbc="T F T"'
)
FRAME = f"""2
{COMMENT}
Mg 0.0 0.0 0.0 0.1 0.2 0.3 7
O 2.0 0.5 0.0 -0.1 -0.2 -0.3 8
"""


def frames_of(path):
    return [raw.structure() for raw in FORMATS["extxyz"].frames(path)]


def test_a_frame(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text(FRAME)
    (frame,) = frames_of(path)
    assert frame.numbers.tolist() == [12, 8]
    assert frame.positions.tolist() == [[0, 0, 0], [2, 0.5, 0]]
    assert frame.cell.tolist() == [[4, 0, 0], [1, 5, 0], [0, 0, 6]]  # rows are lattice vectors
    assert frame.pbc.tolist() == [True, False, True]
    assert frame.info == {"energy": -3.5, "config_type": "bulk"}
    assert frame.arrays["forces"].tolist() == [[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]]
    assert frame.arrays["tag"].tolist() == [7, 8]
    assert frame.source == f"{path}, frame 0"


@pytest.mark.parametrize(
    ("suffix", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_compressed(tmp_path, suffix, compress):
    path = tmp_path / f"a.extxyz{suffix}"
    path.write_bytes(compress((FRAME * 3).encode()))
    assert len(frames_of(path)) == 3


@pytest.mark.parametrize("stress", ["1 2 3 4 5 6", "1 9 8 7 2 6 5 4 3"])
def test_stress_of_six_or_nine_numbers_arrives_as_written(tmp_path, stress):
    path = tmp_path / "a.xyz"
    path.write_text(FRAME.replace("energy=", f'virial="{stress}" stress="{stress}" energy='))
    (frame,) = frames_of(path)
    assert np.ravel(frame.info["stress"]).tolist() == [float(x) for x in stress.split()]
    assert np.ravel(frame.info["virial"]).tolist() == [float(x) for x in stress.split()]


def test_selection_keeps_the_frame_numbers_of_the_file(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("".join(FRAME.replace("-3.5", str(-index)) for index in range(6)))
    frames = frames_of(path)[-1::-2]
    assert [frame.info["energy"] for frame in frames] == [-5, -3, -1]
    assert [frame.source[-7:] for frame in frames] == ["frame 5", "frame 3", "frame 1"]


def test_plain_xyz_windows_lines_and_blank_lines(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_bytes(b"2\r\nwater, less one\r\nO 0 0 0\r\nH 0 0 1\r\n\r\n\r\n1\r\n\r\nHe 0 0 0\r\n\r\n")
    hydroxyl, helium = frames_of(path)
    assert hydroxyl.pbc.tolist() == [False, False, False]
    assert not hydroxyl.cell.any()
    assert helium.numbers.tolist() == [2]


ROW = "O 2.0 0.5 0.0 -0.1 -0.2 -0.3 8\n"
BAD = {
    "empty": ("", "empty"),
    "blank": ("\n\n", "empty"),
    "prose": ("Dear all,\nplease find\n", r"frame 0 \(line 1\): .*'Dear all,'"),
    "negative": ("-2\n" + FRAME[2:], "frame 0 .*'-2'"),
    "no atoms": ("0\n\n", "frame 0 .*no atoms"),
    "too many rows": (FRAME + FRAME + ROW + FRAME, r"frame 2 \(line 9\): .*frame 1 "),
    "too few rows": (
        FRAME + FRAME.replace(ROW, "") + FRAME,
        r"frame 1 \(line 5\): .*2 atoms.*line 8 .*'2'",
    ),
    "too few rows at the end": (
        FRAME + FRAME.replace("2\n", "4\n", 1),
        r"frame 1 \(line 5\): .*4 .* 2",
    ),
    "a header among the atoms": (
        FRAME.replace("2\n", "6\n", 1) + FRAME[:-1],
        "6 atoms.*line 5 .*'2'",
    ),
    "cut off": (
        FRAME + FRAME.replace(ROW, ""),
        r"frame 1 \(line 5\): .*2 atoms.* 1",
    ),
    "only a header": ("2\n", "2 atoms.* 0"),
    "unknown element": (FRAME + FRAME.replace("Mg", "Qq"), r"frame 1 \(line 5\): .*'Qq'"),
    "not a number": (FRAME.replace("0.5", "o.5"), "frame 0 .*o.5"),
    "missing column": (FRAME.replace(" 8\n", "\n"), "line 4 "),
    "bad lattice": (FRAME.replace("4 0 0 1", "4 0 0"), "frame 0 .*Lattice"),
    "bad pbc": (FRAME.replace("T F T", "T F"), "frame 0 "),
    "bad properties": (FRAME.replace("forces:R:3", "forces:Q:3"), "frame 0 .*Properties"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_bad_text(tmp_path, text, message):
    path = tmp_path / "bad.xyz"
    path.write_text(text)
    refused(path, message)


def test_a_byte_order_mark_is_skipped(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text(FRAME, encoding="utf-8-sig")
    (frame,) = frames_of(path)
    assert frame.numbers.tolist() == [12, 8]


def test_bad_compression(tmp_path):
    packed = gzip.compress((FRAME * 2000).encode())
    path = tmp_path / "bad.xyz.gz"
    path.write_bytes(packed[: len(packed) // 2])
    refused(path, r"frame \d+: cannot be read")
    path.write_bytes(packed[:200] + b"zzzzzzzzz" + packed[209:])
    refused(path, "damaged|cannot be read|columns")
    path.write_text(FRAME)
    refused(path, r"cannot be read .*Not a gzipped file")
    path = tmp_path / "bad.xyz.xz"
    path.write_text(FRAME)
    refused(path, "cannot be read")


def test_bad_files(tmp_path):
    binary = tmp_path / "bad.xyz"
    binary.write_bytes(bytes(range(128, 256)))
    refused(binary, "UTF-8")
    latin = tmp_path / "latin1.xyz"
    latin.write_bytes((FRAME + FRAME.replace("energy=", "author=Müller energy=")).encode("latin-1"))
    refused(latin, "UTF-8 .*0xfc")
    refused(tmp_path / "none.xyz", "No such file")
    refused(tmp_path, "Is a directory")


def refused(path, message):
    with pytest.raises(InputError, match=message) as refusal:
        frames_of(path)
    assert str(refusal.value).startswith(str(path))
    assert "\n" not in str(refusal.value)
