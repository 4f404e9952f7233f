"""The quick reader against ASE's: the same numbers, types and names, or none at all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esen.data.readers.extxyz import parse_by_ase
from esen.data.readers.extxyz_plain import parse_plain
from esen.data.readers.frame import RawFrame
from esen.errors import InputError

REALS = st.floats(-1e3, 1e3, allow_nan=False).map(repr) | st.sampled_from(
    ["0", "-3", "1e-4", "nan", "+.5", "1_0"]
)
VALUES = st.one_of(
    REALS,
    st.integers(-(10**20), 10**20).map(str),
    st.sampled_from(["T", "F", "true", "False", "TRUE", "bulk", "mp-12", "a_b", "none", "Pbca", "8,9"]),
)
QUOTED = st.lists(VALUES | st.sampled_from(["it's", "[x]", "{", "a=b", "="]), min_size=1, max_size=4).map(
    lambda parts: f'"{" ".join(parts)}"'
)
KEYS = st.sampled_from(
    ["energy", "stress", "virial", "config_type", "uid", "free_energy", "dft-E", "n", "charge", "x:y"]
)
PAIRS = st.builds(lambda key, value: f"{key}={value}", KEYS, VALUES | QUOTED) | KEYS
LATTICES = st.sampled_from(['Lattice="4 0 0 1 5 0 0 0 6"', 'Lattice="4.0 0 0 0 5 0 0 0 6.5"', ""])
PERIODS = st.sampled_from(['pbc="T F T"', 'pbc="T T T"', 'pbc="F F F"', ""])
COLUMNS = st.lists(
    st.sampled_from(
        ["forces:R:3", "magmoms:R:1", "tags:R:1", "REF_f:R:3", "id:I:1", "kind:S:1", "energies:R:1"]
    ),
    max_size=3,
)


@st.composite
def texts(draw):
    """A frame as files have it: mostly plain, at times not, at times broken."""
    columns = ["species:S:1", "pos:R:3", *draw(COLUMNS)]
    comment = [draw(LATTICES), draw(PERIODS), *draw(st.lists(PAIRS, max_size=4))]
    comment.append(f"Properties={':'.join(columns)}")
    rows = []
    for _ in range(draw(st.integers(1, 3))):
        words = [
            draw(st.sampled_from(["H", "O", "Mg", "Uue", "h", "X"]) if draw(st.booleans()) else st.just("C"))
        ]
        for column in columns[1:]:
            _, kind, count = column.split(":")
            one = {"R": REALS, "I": st.just("7"), "S": st.just("core")}[kind]
            words += [draw(one) for _ in range(int(count))]
        rows.append("  ".join(words))
    if draw(st.integers(0, 9)) == 0:
        rows[-1] = rows[-1].rsplit(maxsplit=1)[0]
    space = draw(st.sampled_from([" ", "  ", "\t"]))
    return "\n".join([str(len(rows)), space.join(comment), *rows]) + "\n"


@given(texts())
def test_what_is_read_is_what_ase_reads(text):
    plain = parse_plain(text, "a.xyz, frame 0")
    if plain is None:
        return
    frame = parse_by_ase(RawFrame(text, "a.xyz, frame 0", 1))
    for name in ("numbers", "positions", "cell", "pbc"):
        same(getattr(plain, name), getattr(frame, name))
    assert list(plain.info) == list(frame.info)
    for key, value in frame.info.items():
        same(plain.info[key], value)
    assert plain.arrays.keys() == frame.arrays.keys()
    for key, value in frame.arrays.items():
        same(plain.arrays[key], value)
    assert plain.source == frame.source


def same(one, other):
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
    np.testing.assert_array_equal(one, other)


PLAIN = (
    'Lattice="4 0 0 1 5 0 0 0 6" Properties=species:S:1:pos:R:3:forces:R:3 energy=-3.5 config_type=bulk name'
)
ROWS = "Mg 0 0 0 1 2 3\nO 2 0.5 0 -1 -2 -3\n"


def test_the_usual_is_plain():
    frame = parse_plain(f"2\n{PLAIN}\n{ROWS}", "here")
    assert frame.info == {"energy": -3.5, "config_type": "bulk", "name": True}
    assert frame.cell.tolist() == [[4, 0, 0], [1, 5, 0], [0, 0, 6]]
    assert frame.arrays["forces"].tolist() == [[1, 2, 3], [-1, -2, -3]]
    assert parse_plain("1\nwater, less two\nO 0 0 0\n", "here").arrays == {}


@pytest.mark.parametrize(
    "comment",
    [
        PLAIN.replace("energy=", "energy = "),
        PLAIN + " note='a b'",
        PLAIN + r' note="a \"b\""',
        PLAIN + ' map="_JSON [1]"',
        PLAIN + ' empty=""',
        PLAIN + " é=1",
        PLAIN.replace("forces:R:3", "move_mask:R:3"),
        PLAIN.replace("forces:R:3", "forces:I:3"),
        PLAIN.replace("species:S:1:pos:R:3", "pos:R:3:species:S:1"),
    ],
)
def test_the_rest_is_left_to_ase(comment):
    assert parse_plain(f"2\n{comment}\n{ROWS}", "here") is None


@pytest.mark.parametrize(
    "rows", [ROWS.replace("Mg", "Qq"), ROWS.replace("0.5", "o.5"), ROWS.replace(" -3\n", "\n")]
)
def test_mistakes_are_left_to_ase(rows):
    text = f"2\n{PLAIN}\n{rows}"
    assert parse_plain(text, "here") is None
    with pytest.raises(InputError, match="here"):
        parse_by_ase(RawFrame(text, "here", 1))
