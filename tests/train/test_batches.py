"""Batches made ready in a thread."""

import threading
import time
from collections.abc import Callable

import pytest

from esen.errors import InputError
from esen.train.batches import prefetched


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@pytest.mark.parametrize("ahead", [0, 1, 2, 9])
def test_everything_comes_once_and_in_order(ahead: int) -> None:
    with prefetched(lambda item: 10 * item, list(range(6)), ahead) as made:
        assert list(made) == [0, 10, 20, 30, 40, 50]
    assert not threads()


@pytest.mark.parametrize("ahead", [1, 3])
def test_so_many_are_made_beforehand_and_no_more(ahead: int) -> None:
    begun: list[int] = []

    def make(item: int) -> int:
        begun.append(item)
        return item

    with prefetched(make, list(range(8)), ahead) as made:
        for item in made:
            last = min(item + ahead, 7)
            until(lambda last=last: begun[-1] == last)  # type: ignore[misc]
            time.sleep(0.01)
            assert begun == list(range(last + 1))


def test_without_a_thread_nothing_is_made_beforehand() -> None:
    names: list[str] = []
    with prefetched(lambda _: names.append(threading.current_thread().name), [1, 2], 0) as made:
        next(made)
        assert names == ["MainThread"]


def test_a_thread_makes_them_one_at_a_time() -> None:
    names: set[str] = set()
    with prefetched(lambda _: names.add(threading.current_thread().name), list(range(9)), 3) as made:
        list(made)
    assert len(names) == 1
    assert "MainThread" not in names


@pytest.mark.parametrize("error", [InputError("frame 2 is bad"), MemoryError(), KeyError("defect")])
def test_an_error_comes_where_its_batch_is_taken(error: Exception) -> None:
    def make(item: int) -> int:
        if item == 2:
            raise error
        return item

    taken = []
    with (
        pytest.raises(type(error)) as caught,
        prefetched(make, list(range(5)), 2) as made,
    ):
        for item in made:
            taken.append(item)
    assert taken == [0, 1]
    assert caught.value is error
    assert not threads()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_the_thread_ends_with_the_block_however_it_is_left(error: type[BaseException]) -> None:
    made_last: list[int] = []

    def make(item: int) -> int:
        time.sleep(0.02)
        made_last.append(item)
        return item

    with pytest.raises(error), prefetched(make, list(range(100)), 50) as made:
        next(made)
        raise error
    assert not threads()
    assert len(made_last) < 20
    with prefetched(make, [1, 2], 2):
        pass
    assert not threads()


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)
