"""Frames of extended XYZ: the numbers, types and names that ASE reads, or a line that says what is wrong."""

import io

import numpy as np
import pytest
from ase.io.extxyz import key_val_str_to_dict, read_xyz
from hypothesis import given
from hypothesis import strategies as st

from esen.data.readers.extxyz_frame import parse_extxyz
from esen.data.readers.frame import RawFrame
from esen.errors import InputError

REALS = st.floats(-1e3, 1e3, allow_nan=False).map(repr) | st.sampled_from(["0", "-3", "1e-4", "+.5"])
VALUES = st.one_of(
    REALS,
    st.integers(-(10**20), 10**20).map(str),
    st.sampled_from(["T", "F", "true", "False", "TRUE", "bulk", "mp-12", "a_b", "none", "Pbca", "8,9"]),
)
QUOTED = st.lists(
    VALUES | st.sampled_from(["it's", "[x]", "{", "a=b", "=", r"\""]), min_size=1, max_size=4
).map(lambda parts: f'"{" ".join(parts)}"')
OTHER = st.sampled_from(["'a b'", "{1 2 3}", "[T F]", r"a\ b", '"_JSON [[1, 2], [3, 4]]"'])
KEYS = st.sampled_from(
    ["energy", "config_type", "uid", "free_energy", "dft-E", "n", "charge", "x:y", "é", '"a b"']
)
PAIRS = st.builds(
    lambda key, to, value: f"{key}{to}{value}", KEYS, st.sampled_from(["=", " = "]), VALUES | QUOTED | OTHER
)
LATTICES = st.sampled_from(['Lattice="4 0 0 1 5 0 0 0 6"', 'Lattice="4.0 0 0 0 5 0 0 0 6.5"', ""])
PERIODS = st.sampled_from(['pbc="T F T"', 'pbc="T T T"', 'pbc="F F F"', ""])
COLUMNS = st.lists(
    st.sampled_from(["magmoms:R:1", "tags:R:1", "REF_f:R:3", "id:I:1", "kind:S:1", "flag:L:2", "charge:R:1"]),
    max_size=3,
    unique=True,
)


@st.composite
def texts(draw):
    """A frame as files have it."""
    columns = draw(st.permutations(["species:S:1", "pos:R:3", *draw(COLUMNS)]))
    pairs = {pair.split("=")[0].strip(): pair for pair in draw(st.lists(PAIRS, max_size=4))}
    comment = [draw(LATTICES), draw(PERIODS), *pairs.values(), f"Properties={':'.join(columns)}"]
    rows = []
    for _ in range(draw(st.integers(1, 3))):
        words = []
        for column in columns:
            name, kind, count = column.split(":")
            if name == "species":
                words.append(draw(st.sampled_from(["H", "O", "Mg", "Og", "h", "X", "C"])))
            else:
                one = {"R": REALS, "I": st.just("7"), "S": st.just("core"), "L": st.sampled_from("TF")}[kind]
                words += [draw(one) for _ in range(int(count))]
        rows.append("  ".join(words))
    space = draw(st.sampled_from([" ", "  ", "\t"]))
    return "\n".join([str(len(rows)), space.join(comment), *rows]) + "\n"


@given(texts())
def test_what_is_read_is_what_ase_reads(text):
    frame = parse(text)
    values = key_val_str_to_dict(text.split("\n")[1].strip())
    geometry = {key: values.pop(key) for key in ("Lattice", "pbc", "Properties") if key in values}
    atoms = next(read_xyz(io.StringIO(text), 0, properties_parser=lambda line: dict(geometry)))
    arrays = {k: v for k, v in atoms.arrays.items() if k not in ("numbers", "positions")}
    arrays |= dict(atoms.calc.results) if atoms.calc else {}
    for name in ("numbers", "positions", "pbc"):
        np.testing.assert_array_equal(getattr(frame, name), getattr(atoms, name))
    np.testing.assert_array_equal(frame.cell, atoms.cell.array)
    assert list(frame.info) == list(values)
    for key, value in values.items():
        assert type(frame.info[key]) is type(value)
        np.testing.assert_array_equal(frame.info[key], value)
    assert frame.arrays.keys() == arrays.keys()
    for key, value in arrays.items():
        assert frame.arrays[key].dtype.kind == value.dtype.kind
        np.testing.assert_array_equal(frame.arrays[key], value)


def parse(text, line=1):
    return parse_extxyz(RawFrame(text, "a.xyz, frame 0", line))


USUAL = 'Lattice="4 0 0 1 5 0 0 0 6" Properties=species:S:1:pos:R:3:forces:R:3 energy=-3.5 pbc="T T F"'
ROWS = "Mg 0 0 0 1 2 3\nO 2 0.5 0 -1 -2 -3\n"


@pytest.mark.parametrize(
    "comment",
    [
        USUAL,
        USUAL.lower().replace("t t f", "T T F"),
        USUAL.replace("Lattice", "LATTICE").replace("pbc", "PBC").replace("Properties", "PROPERTIES"),
        USUAL.replace("species:S:1:pos:R", "Species:s:1:POS:r"),
        USUAL.replace("species:S:1:pos", "symbols:S:1:positions"),
        USUAL.replace("T T F", "true true false"),
        USUAL.replace('"T T F"', "[1, 1, 0]"),
        USUAL.replace("energy=", "energy = "),
        USUAL.replace('"4 0 0 1 5 0 0 0 6"', "{4,0,0,1,5,0,0,0,6}"),
    ],
)
def test_spellings_of_one_frame(comment):
    frame = parse(f"2\n{comment}\n{ROWS}")
    assert frame.numbers.tolist() == [12, 8]
    assert frame.cell.tolist() == [[4, 0, 0], [1, 5, 0], [0, 0, 6]]
    assert frame.pbc.tolist() == [True, True, False]
    assert frame.info == {"energy": -3.5}
    assert frame.arrays["forces"].tolist() == [[1, 2, 3], [-1, -2, -3]]


def test_elements_by_number_and_plain_xyz():
    text = "2\nProperties=Z:I:1:pos:R:3:id:I:1\n12 0 0 0 7\n8 0 0 2 9\n"
    assert parse(text).numbers.tolist() == [12, 8]
    plain = parse('2\nwater, less one; it\'s "cold"\nO 0 0 0 0.1 extra\nH 0 0 1 0.2 more\n')
    assert (plain.numbers.tolist(), plain.arrays, plain.pbc.any()) == ([8, 1], {}, False)


@pytest.mark.parametrize(
    ("mask", "fixed"),
    [
        ("move_mask:L:1", {0: [True] * 3}),
        ("MOVE_MASK:I:1", {0: [True] * 3}),
        ("move_mask:R:1", {0: [True] * 3}),
        ("Move_Mask:L:3", {0: [True, False, False], 1: [False, True, True]}),
    ],
)
def test_a_move_mask_is_a_constraint(mask, fixed):
    no, yes = ("F", "T") if ":L:" in mask else ("0", "1") if ":I:" in mask else ("0.0", "1.0")
    rows = ["Mg 0 0 0 F T T", "O 0 0 2 T F F"] if mask.endswith("3") else [f"Mg 0 0 0 {no}", f"O 0 0 2 {yes}"]
    frame = parse(f"2\nProperties=species:S:1:pos:R:3:{mask}\n" + "\n".join(rows))
    assert not frame.arrays
    found = {
        int(a): getattr(c, "mask", [True] * 3) for c in frame.constraints for a in np.atleast_1d(c.index)
    }
    assert {atom: list(map(bool, mask)) for atom, mask in found.items()} == fixed


def test_a_move_mask_that_fixes_nothing_is_none():
    assert not parse("1\nProperties=species:S:1:pos:R:3:move_mask:L:1\nO 0 0 0 T\n").constraints


@pytest.mark.parametrize("word", ["2", "-1", "nan", "0.5"])
def test_a_move_mask_of_other_numbers(word):
    kind = "I" if word in ("2", "-1") else "R"
    with pytest.raises(InputError, match=r"line 4.*move_mask"):
        parse(f"2\nProperties=species:S:1:pos:R:3:move_mask:{kind}:1\nO 0 0 0 1\nO 0 0 2 {word}\n")


BAD = {
    "pbc of numbers": (USUAL.replace("T T F", "2 3 4"), ROWS, "line 1.*pbc.*2 3 4"),
    "pbc of two": (USUAL.replace("T T F", "T F"), ROWS, "pbc"),
    "two cells": (USUAL + ' lattice="5 0 0 0 5 0 0 0 5"', ROWS, "Lattice and lattice"),
    "a cell by another name": (USUAL.replace("Lattice=", "cell="), ROWS, "no Lattice.*cell"),
    "a lattice of NaN": (USUAL.replace("4 0 0 1", "nan 0 0 1"), ROWS, "Lattice"),
    "two energies": (USUAL + " energy=-4", ROWS, "energy twice"),
    "a column too many": (USUAL, ROWS.replace("1 2 3\n", "1 2 3 4\n"), "line 3 has 8"),
    "a column too many, one too few": (USUAL, "Mg 0 0 0 1 2 3 4\nO 2 0.5 0 -1 -2\n", "line 3 has 8"),
    "too many everywhere": (USUAL, "Mg 0 0 0 1 2 3 4\nO 2 0 0 1 2 3 4\n", "line 3 has 8"),
    "a digit group": (USUAL, ROWS.replace("0.5", "1_0"), r"line 4: '1_0' is not a finite number \(pos\)"),
    "too large": (USUAL, ROWS.replace("-3\n", "1e400\n"), r"line 4: '1e400' .*forces"),
    "hexadecimal": (USUAL, ROWS.replace("0.5", "0x10"), "line 4: '0x10'"),
    "Fortran": (USUAL, ROWS.replace("0.5", "0.5D0"), "line 4: '0.5D0'"),
    "not a number": (USUAL, ROWS.replace("0.5", "nan"), "line 4: 'nan'"),
    "another script": (USUAL, ROWS.replace("0.5", "٣"), "line 4"),
    "no element": (USUAL, ROWS.replace("Mg", "M1"), "line 3: 'M1' is not an element"),
    "logicals": (USUAL.replace("forces:R", "f:L"), ROWS, r"line 3: '2' is not T or F \(f\)"),
    "no elements at all": (USUAL.replace("species", "type"), ROWS, "Properties.*species:S:1 or Z:I:1"),
    "no positions": (USUAL.replace("pos:R:3", "pos:R:2"), ROWS, "pos:R:3"),
    "many columns": (USUAL.replace("forces:R:3", "forces:R:99999999999"), ROWS, "99999999999"),
    "half a column": (USUAL.replace("forces:R:3", "forces:R"), ROWS, "Properties"),
    "a quotation without an end": (USUAL.replace('"T T F"', '"T T F'), ROWS, "quotation"),
    "a quotation that swallows keys": ('name="a ' + USUAL, ROWS, "quotation|twice|Properties|Lattice"),
    "a mask of two": (USUAL.replace("forces:R:3", "Move_mask:L:2:f:R:1"), ROWS, "Properties"),
    "a column twice": (USUAL.replace("forces:R:3", "f:R:1:f:R:2"), ROWS, "once"),
    "elements that differ": (
        "Properties=species:S:1:Z:I:1:pos:R:3",
        "Mg 12 0 0 0\nO 7 0 0 2\n",
        "line 4.*species and Z",
    ),
}


@pytest.mark.parametrize(("comment", "rows", "words"), BAD.values(), ids=BAD)
def test_what_is_refused(comment, rows, words):
    with pytest.raises(InputError, match=words) as refusal:
        parse(f"2\n{comment}\n{rows}")
    assert str(refusal.value).startswith("a.xyz, frame 0 (line ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("word", ["1_0", "1e400", "0x1F", "١"])
def test_what_is_no_number_stays_text(word):
    assert parse(f"1\nenergy={word}\nH 0 0 0\n").info == {"energy": word}


def test_elements_that_do_not_exist_and_ghosts():
    for number in (-5, 119, 99999999999):
        raw = RawFrame(
            f"1\nProperties=Z:I:1:pos:R:3\n{number} 0 0 0\n", "a.xyz, frame 0", 1, parse=parse_extxyz
        )
        with pytest.raises(InputError, match=f"a.xyz, frame 0: {number} is the atomic number of no element"):
            raw.structure()
