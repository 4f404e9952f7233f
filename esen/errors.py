"""The one error that a person reads, and what others say in a line."""


class InputError(Exception):
    """What the user gave cannot be used. The message is one line: where, what was given, what was expected.

    The command line prints it without a traceback and exits with code 2.
    """


def first_line(error: BaseException) -> str:
    """Of its message, or its type where there is none.

    >>> first_line(ValueError("no such cell")), first_line(KeyError())
    ('no such cell', 'KeyError')
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
