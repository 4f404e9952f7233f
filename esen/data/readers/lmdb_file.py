"""Read values of an LMDB file by their keys, without LMDB.

LMDB maps a file into memory and trusts it: a file that is cut off or damaged ends the whole process. Here every page is
read from the file and checked. Nothing is locked or written. The format is that of LMDB 0.9 on 64-bit machines, in
little-endian order:

- a page has a header of 16 bytes: number (8), unused (2), flags (2), ends of the lower and upper part (2 + 2; in
  overflow pages together the number of pages), then, in branches and leaves, the offsets of its nodes (2 each);
- a node has low and high size (2 + 2), flags (2), size of the key (2), the key, and in leaves the value, or, if it is
  large, the number of its first overflow page. In branches, sizes and flags together are the number of a page;
- pages 0 and 1 describe the database; the one of the later transaction is valid.
"""

import struct
from functools import lru_cache
from typing import BinaryIO

from esen.errors import InputError

MAGIC = b"\xde\xc0\xef\xbe"
"""At byte 16 of every LMDB file."""

_HEADER = 16
_BRANCH, _LEAF = 1, 2
_META = struct.Struct("<4s20xI76xQQQQ")
"""Magic number, size of a page; entries and root of the main database; last page, transaction."""

_PLAIN, _LARGE = 0, 1
_DEEPEST = 64


class Lmdb:
    """The main database of an LMDB file.

    Attributes:
        entries: number of its keys.
    """

    def __init__(self, file: BinaryIO, source: str) -> None:
        """Find the valid description of the database.

        Args:
            file: an open file.
            source: name of the file, for messages.

        Raises:
            InputError: the file is not LMDB, or shorter than it says.
        """
        self._file, self._source = file, source
        self._size = file.seek(0, 2)
        first = self._meta(0)
        self._page_size = first[0]
        valid = max(first, self._meta(self._page_size), key=lambda meta: meta[-1])
        size, self.entries, self._root, last, _ = valid
        if size != self._page_size or not 256 <= size <= 1 << 16 or self.entries > self._size:
            raise self._damaged("header")
        if self._size < (last + 1) * size:
            raise InputError(
                f"{source}: is cut off: it has {self._size} bytes, and its header says {(last + 1) * size}"
            )
        self._page = lru_cache(maxsize=256)(self._read_page)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key; None: there is none.

        Raises:
            InputError: the file is damaged.
        """
        number = self._root
        if not self.entries:
            return None
        for _ in range(_DEEPEST):
            page, flags, nodes = self._page(number)
            if flags & _LEAF:
                return self._value(page, nodes, key)
            if not flags & _BRANCH or not nodes:
                break
            place = _last_at_most(page, nodes, key)
            low, high, top = struct.unpack_from("<HHH", page, nodes[place])
            number = low | high << 16 | top << 32
        raise self._damaged("tree")

    def _value(self, page: bytes, nodes: tuple[int, ...], key: bytes) -> bytes | None:
        place = _last_at_most(page, nodes, key) if nodes else 0
        if not nodes or _key(page, nodes[place]) != key:
            return None
        low, high, flags, length = struct.unpack_from("<HHHH", page, nodes[place])
        size, start = low | high << 16, nodes[place] + 8 + length
        if flags == _PLAIN:
            value = page[start : start + size]
        elif flags == _LARGE:
            (number,) = struct.unpack_from("<Q", page, start)
            value = self._bytes(number * self._page_size + _HEADER, size)
        else:
            raise self._damaged("row")
        if len(value) != size:
            raise self._damaged("row")
        return value

    def _meta(self, start: int) -> tuple[int, ...]:
        content = self._bytes(start + _HEADER, _META.size)
        if not content.startswith(MAGIC):
            raise InputError(f"{self._source}: is no LMDB file, or damaged")
        return tuple(_META.unpack(content)[1:])

    def _bytes(self, start: int, size: int) -> bytes:
        if start + size > self._size:
            return b""
        self._file.seek(start)
        return self._file.read(size)

    def _read_page(self, number: int) -> tuple[bytes, int, tuple[int, ...]]:
        """Return a page of a tree, its flags and the offsets of its nodes."""
        page = self._bytes(number * self._page_size, self._page_size)
        if len(page) < self._page_size:
            raise self._damaged("tree")
        own, flags, lower = struct.unpack_from("<QxxHH", page)
        count = (lower - _HEADER) // 2
        if own != number or not 0 <= count <= self._page_size // 2:
            raise self._damaged("tree")
        return page, flags, struct.unpack_from(f"<{count}H", page, _HEADER)

    def _damaged(self, what: str) -> InputError:
        return InputError(f"{self._source}: the file is damaged (its {what} is impossible)")


def _key(page: bytes, node: int) -> bytes:
    (length,) = struct.unpack_from("<H", page, node + 6)
    return page[node + 8 : node + 8 + length]


def _last_at_most(page: bytes, nodes: tuple[int, ...], key: bytes) -> int:
    """Return the place of the last node whose key is not above `key`; the first node of a branch has no key."""
    low, high = 0, len(nodes) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _key(page, nodes[middle]) <= key else (low, middle - 1)
    return low
