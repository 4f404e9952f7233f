"""The error that a user reads, other errors in one line, and text that is safe to show."""

import re
import unicodedata

_USER = re.compile(
    r"(?<=://)(?:[^/?#\s:@]*:(?!\d*[/?#])\S*|[^/?#\s]*)@"  # also a password that holds a slash or @
    r"|(?<![^\s'\"=])[^/\s:@'\"=]+:[^/\s@]+@(?=\w)"  # user:password@host without `http://`
)
_QUERY = re.compile(r"(?<=://)([^\s?#'\"]*)\?([^\s'\"]*)")
_HARMLESS = re.compile(
    r"(charset|ssl_?mode|driver|mode|cache|uri|timeout|host|port|unix_socket)=[\w.,:/ -]*", re.IGNORECASE
)


class InputError(Exception):
    """What the user gave cannot be used. Each argument is one line: where, what was given, what was expected.

    The command line prints it without a traceback and exits with code 2. Names and texts of files cannot add lines or
    control the terminal, because each line is made `printable`; a password in an address is not shown.
    """

    def __str__(self) -> str:
        return "\n".join(printable(without_secrets(str(line))) for line in self.args)


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


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type where there is no message.

    >>> first_line(ValueError("no such cell")), first_line(KeyError())
    ('no such cell', 'KeyError')
    """
    return printable((str(error).strip().splitlines() or [type(error).__name__])[0])


def typed_line(error: BaseException) -> str:
    """Return the type of an error with the first line of its message.

    >>> typed_line(ValueError("no such cell")), typed_line(KeyError())
    ('ValueError: no such cell', 'KeyError')
    """
    words = str(error).strip().splitlines()
    kind = type(error).__name__
    kind = f"{type(error).__module__}.error" if kind == "error" else kind  # zlib's, for instance
    return f"{kind}: {printable(words[0])}" if words else kind


def without_secrets(text: str) -> str:
    """Return a text whose addresses have no user, no password, and nothing in their queries that could be a token.

    >>> without_secrets("postgresql://me:secret@host/db?sslmode=require&password=x refuses")
    'postgresql://host/db?sslmode=require refuses'
    """

    def harmless(found: re.Match[str]) -> str:
        kept = [part for part in found[2].split("&") if _HARMLESS.fullmatch(part)]
        return f"{found[1]}?{'&'.join(kept)}" if kept else found[1]

    return _QUERY.sub(harmless, _USER.sub("", text))
