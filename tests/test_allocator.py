"""What the C library is asked for; `benchmarks/allocator.py` measures what it is worth."""

import ctypes
from types import SimpleNamespace

import pytest

from esen.allocator import keep_freed_memory


def test_glibc_is_asked_to_keep_what_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[int, int] = {}
    library = SimpleNamespace(mallopt=lambda parameter, value: asked.update({parameter: value}))
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    keep_freed_memory()
    assert asked == {-4: 0, -1: 2**31 - 1}  # M_MMAP_MAX, M_TRIM_THRESHOLD of <malloc.h>


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_without_glibc_nothing_happens(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def missing(name: str) -> None:
        opened.append(name)
        raise OSError(name)

    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", missing)
    keep_freed_memory()
    assert len(opened) == (platform == "linux")
