"""Text: what is safe to show, the encoding of what is read, lists and times in words."""

import codecs
import re
import unicodedata
from collections.abc import Sequence

_USER = re.compile(
    r"(?<=://)(?:[^/?#\s:@]*:(?!\d*[/?#])\S*|[^/?#\s]*)@"  # also a password that holds a slash or @
    r"|(?<![^\s'\"=])[^/\s:@'\"=]+:[^/\s@]+@(?=\w)"  # user:password@host without `http://`
)
_QUERY = re.compile(r"(?<=://)([^\s?#'\"]*)\?([^\s'\"]*)")
_HARMLESS = re.compile(
    r"(charset|ssl_?mode|driver|mode|cache|uri|timeout|host|port|unix_socket)=[\w.,:/ -]*", re.IGNORECASE
)

_MARKS = {  # UTF-32 first, because its mark begins as that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}


class Grey(str):
    """A text that is shown in grey: what it says is of no significance."""

    __slots__ = ()


def printable(text: str) -> str:
    r"""Escape what a terminal would obey or a line cannot hold: control characters, line breaks, marks of direction.

    Bytes of a file name that are not UTF-8 are shown by their value.

    >>> print(printable("Å³ \x1b[31m\n\u202e"), printable("\udce9.cif"))
    Å³ \x1b[31m\n\u202e \xe9.cif
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":  # spaces, such as a thin one
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def printable_lines(text: str) -> str:
    """Return a text of several lines, each made `printable`."""
    return "\n".join(map(printable, text.split("\n")))


def without_secrets(text: str) -> str:
    """Return a text whose addresses have no user, no password, and nothing in their queries that could be a token.

    >>> without_secrets("postgresql://me:secret@host/db?sslmode=require&password=x refuses")
    'postgresql://host/db?sslmode=require refuses'
    """

    def harmless(found: re.Match[str]) -> str:
        kept = [part for part in found[2].split("&") if _HARMLESS.fullmatch(part)]
        return f"{found[1]}?{'&'.join(kept)}" if kept else found[1]

    return _QUERY.sub(harmless, _USER.sub("", text))


def encoding_of(start: bytes) -> str | None:
    """Return the encoding that a byte order mark at the start of a file shows; None: there is none."""
    return next((encoding for mark, encoding in _MARKS.items() if start.startswith(mark)), None)


def first_few(names: Sequence[str], most: int = 3, between: str = ", ") -> str:
    """Return the names, or the first of them and how many more there are.

    >>> first_few(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return between.join(names[:most]) + more


def duration(seconds: float) -> str:
    """Return a time in words.

    >>> duration(0.1493), duration(7.31), duration(125), duration(7260)
    ('149 ms', '7.3 s', '2 min 5 s', '2 h 1 min')
    """
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
