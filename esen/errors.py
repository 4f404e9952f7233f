"""The error that a user reads, and other errors in one line."""

from esen.text import printable, without_secrets


class InputError(Exception):
    """What the user gave cannot be used. Each argument is one line: where, what was given, what was expected.

    The command line prints it without a traceback and exits with code 2. Names and texts of files cannot add lines or
    control the terminal, because each line is made `printable`; a password in an address is not shown.
    """

    def __str__(self) -> str:
        return "\n".join(printable(without_secrets(str(line))) for line in self.args)


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
