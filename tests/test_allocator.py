"""Freed memory is reused; `benchmarks/allocator.py` measures how much time that saves."""

import ctypes
import platform
import subprocess
import sys

import pytest

from esen.allocator import keep_freed_memory

_PAGES_OF_A_SECOND_BLOCK = """
import ctypes, resource, sys
from esen.allocator import keep_freed_memory

libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
SIZE = 64 << 20

def use_a_block():
    block = libc.malloc(SIZE)
    libc.memset(block, 1, SIZE)
    libc.free(block)

if sys.argv[1] == "keep":
    keep_freed_memory()
use_a_block()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use_a_block()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is asked")
def test_a_freed_block_is_reused_without_new_pages() -> None:
    """A new block of 64 MiB consists of 16384 pages of 4 KiB, or of 32 pages of 2 MiB; a reused one needs none."""

    def new_pages(how: str) -> int:
        command = [sys.executable, "-c", _PAGES_OF_A_SECOND_BLOCK, how]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert new_pages("keep") < 10
    assert new_pages("free") > 30


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    keep_freed_memory()
