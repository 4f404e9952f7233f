import pytest
from hypothesis import given
from hypothesis import strategies as st

from esen.data.split import hold_out
from esen.errors import InputError


@given(st.integers(2, 200), st.floats(0.001, 0.999), st.integers(0, 2**32))
def test_the_parts_make_the_whole(count, fraction, seed):
    kept, held = hold_out(range(count), fraction, seed)
    assert sorted(kept + held) == list(range(count))
    assert kept == sorted(kept)
    assert held == sorted(held)
    assert kept
    assert held
    assert len(held) == min(max(round(fraction * count), 1), count - 1)
    assert (kept, held) == hold_out(range(count), fraction, seed)


def test_the_seed_chooses():
    assert len({tuple(hold_out(range(100), 0.1, seed)[1]) for seed in range(5)}) == 5


def test_one_frame_cannot_be_divided():
    with pytest.raises(InputError, match=r"data\.validation"):
        hold_out([1], 0.1, 0)
