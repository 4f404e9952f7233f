import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from esen.errors import InputError
from esen.recipe.document import parse_document, parse_value, plain_scalar, write_document


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        ("1.e3", 1e3),
        (".5", 0.5),
        ("+2", 2),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("-.inf", -math.inf),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("no", "no"),
        ("12:30", "12:30"),
        ("0:250", "0:250"),
        ("1_000", "1_000"),
        ("2024-01-02", "2024-01-02"),
        ("1e", "1e"),
        ("e5", "e5"),
        ("'1e-4'", "1e-4"),
        ('"true"', "true"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    for parsed in (parse_document(f"key: {text}", "x").value["key"], parse_value(text, "x")):
        assert parsed == value
        assert type(parsed) is type(value)


def test_not_a_number() -> None:
    assert math.isnan(parse_document("[.nan]", "x").value[0])
    assert plain_scalar("nan") == "nan"
    assert plain_scalar("9" * 5000) == "9" * 5000  # more digits than Python converts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "x:3: .*'a' .*line 1"),
        ("s:\n  {k: 1, k: 2}", "x:2: .*'k' .*line 2"),
        ("a: 1\n\tb: 2\n", "x:2: .*tabs"),
        ("a: *.xyz", "x:1: .*quotes .*\\*"),
        ("a: b: c", "x:1: .*quotes .*colon"),
        ("a: [1, 2", "x:1: .*YAML"),
        ("a:\n   b: 1\n  c: 2", "x:3: .*indentation"),
        ("a: 1\n---\nb: 2\n", "x:2: .*one recipe"),
        ("ok: 1\na: \x01", r"x:2: .*'\\x01'"),
        ("1: a", "x:1: .*key .*1"),
        ("a: 1\n? [b]\n: c", "x:2: .*key "),
        ("a: !!binary aGk=", "x:1: .*!!binary"),
        ("a: !!python/object:os.system {}", "x:1: .*!!python/object:os.system"),
        ("a: !!int b", "x:1: .*!!int"),
        ("a: !!str 3", "x:1: .*!!str"),
        ("a: &b [*b]", "x: .*alias"),
        ("&a {<<: *a}", "x: .*alias"),
        ('a: "\\ud800"', "x:1: .*Unicode"),
        ("[" * 5000, "x: .*nested"),
    ],
)
def test_what_a_recipe_has_no_use_for_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_document(text, "x")
    assert "\n" not in str(caught.value)


def test_anchors_and_merge_keys() -> None:
    document = parse_document("a: &base {p: 1, q: 2}\nb:\n  <<: *base\n  q: 3\nc: *base\n", "x")
    assert document.value == {"a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 3}, "c": {"p": 1, "q": 2}}
    assert document.position(("b", "p")) == (1, 11)
    assert document.position(("b", "q")) == (4, 3)


ENTRIES = ["[x,x,x,x,x,x,x,x,x,x]", "{x: 1}"]


@pytest.mark.parametrize("entry", ENTRIES)
def test_aliases_do_not_multiply_a_file_into_gigabytes(entry: str) -> None:
    lines = [f"a0: &a0 {entry}"]
    for level in range(1, 9):
        many = ",".join([f"*a{level - 1}"] * 10)
        lines.append(
            f"a{level}: &a{level} " + (f"[{many}]" if entry.startswith("[") else f"{{<<: [{many}]}}")
        )
    with pytest.raises(InputError, match="100,000 ") as caught:
        parse_document("\n".join(lines), "x")
    assert "\n" not in str(caught.value)


def test_an_anchor_that_is_set_twice_has_the_later_value() -> None:
    assert parse_document("a: &n 1\nb: &n 2\nc: *n", "x").value == {"a": 1, "b": 2, "c": 2}


def test_positions_of_keys_entries_and_of_what_is_not_there() -> None:
    document = parse_document("a: 1\nb:\n  - c: 2\n  - d:\n      e: 3\n", "x")
    assert document.position(("b", 1, "d", "e")) == (5, 7)
    assert document.position(("b", 0)) == (3, 5)
    assert document.position(("b", 7, "d")) == (2, 1)
    assert document.position(("zz",)) == (1, 1)
    assert ("b", 0, "c") in document.positions
    assert ("b", 2) not in document.positions


@pytest.mark.parametrize("text", ["*.xyz", "&a", "a: b", ":", "::10", "a # b", "@x", "%x", "!x", "|", "- x"])
def test_the_value_of_a_setting_is_text_unless_it_is_a_scalar_or_a_flow(text: str) -> None:
    assert parse_value(text, "x") == text


def test_the_value_of_a_setting_may_be_a_list_or_a_map() -> None:
    assert parse_value("[1, 2e-1, {a: on}]", "x") == [1, 0.2, {"a": "on"}]
    with pytest.raises(InputError, match=r"--set a=\[1: .*YAML"):
        parse_value("[1", "--set a=[1")
    with pytest.raises(InputError, match="Unicode"):
        parse_value("\udcff", "x")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1), inner, max_size=3),
    max_leaves=8,
)


@given(_VALUES)
def test_what_is_written_reads_back(value: object) -> None:
    text = write_document(value)
    assert parse_document(text, "x").value == value


@pytest.mark.parametrize(
    "text", ["1e-4", "on", "no", "010", "1_000", "12:30", "0o7", "null", "", "1.e3", "~"]
)
def test_text_that_looks_like_another_type_is_written_in_quotes(text: str) -> None:
    written = write_document({"a": text})
    assert parse_document(written, "x").value == {"a": text}
    older = YAML(typ="safe", pure=True)
    older.version = (1, 1)
    assert older.load(written) == {"a": text}


def test_the_depth_does_not_depend_on_what_python_allows() -> None:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(50_000)  # as libraries do on import
    try:
        with pytest.raises(InputError, match=r"x: .*nested"):
            parse_document("[" * 2000 + "]" * 2000, "x")
        assert parse_document("[" * 90 + "]" * 90, "x") is not None
    finally:
        sys.setrecursionlimit(before)
