"""Reuse of freed memory, which glibc would return to the operating system."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Ask glibc to reuse large freed blocks instead of mapping new pages, which the system has to clear.

    Large models allocate and free blocks of tens of megabytes at every step; `benchmarks/allocator.py` measures the
    time. The function has no effect with another C library.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
