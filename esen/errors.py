"""The error that a user reads, and other errors in one line."""


class InputError(Exception):
    """What the user gave cannot be used. The message is one line: where, what was given, what was expected.

    The command line prints it without a traceback and exits with code 2.
    """


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type where there is no message.

    >>> first_line(ValueError("no such cell")), first_line(KeyError())
    ('no such cell', 'KeyError')
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def typed_line(error: BaseException) -> str:
    """Return the type of an error with the first line of its message.

    >>> typed_line(ValueError("no such cell")), typed_line(KeyError())
    ('ValueError: no such cell', 'KeyError')
    """
    words = str(error).strip().splitlines()
    return f"{type(error).__name__}: {words[0]}" if words else type(error).__name__
