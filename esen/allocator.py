"""Keeping freed memory for the next step, where glibc would give it back to the system."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Ask glibc to reuse large blocks instead of mapping new pages, which are cleared one by one, for each.

    Large models allocate and free blocks of tens of megabytes at every step; without this the system clears them
    all again (`benchmarks/allocator.py`). Does nothing where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
