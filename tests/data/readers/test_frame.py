import pytest
from hypothesis import given
from hypothesis import strategies as st

from esen.data.readers.frame import parse_slice, select
from esen.errors import InputError

INTEGERS = st.none() | st.integers(-6, 6)


def test_parse_slice():
    assert parse_slice(" 1 : -1 : 2 ") == slice(1, -1, 2)
    assert parse_slice("::-1") == slice(None, None, -1)
    for text in ("99999999999999999999:", ":99999999999999999999", "::99999999999999999999"):
        with pytest.raises(InputError, match="not a Python slice"):
            parse_slice(text)


@given(length=st.integers(0, 8), start=INTEGERS, stop=INTEGERS, step=INTEGERS.filter(lambda n: n != 0))
def test_as_a_list_is_sliced(length, start, stop, step):
    chosen = slice(start, stop, step)
    assert list(select(iter(range(length)), chosen)) == list(range(length))[chosen]


def test_no_more_is_taken_than_is_needed():
    def items():
        yield 0
        yield 1
        pytest.fail("went on")

    assert list(select(items(), slice(0, 2))) == [0, 1]
