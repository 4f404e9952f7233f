"""The one error that a person reads."""


class InputError(Exception):
    """What the user gave cannot be used. The message is one line: where, what was given, what was expected.

    The command line prints it without a traceback and exits with code 2.
    """
