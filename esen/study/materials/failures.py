"""What is said of a material that could not be computed."""

import traceback
from pathlib import Path

from esen.errors import InputError, typed_line


def reason_of(error: Exception, keep: Path) -> str:
    """In one line. Of what is no mistake of the input, the traceback is kept in a file.

    Args:
        error: whatever was raised.
        keep: the file.
    """
    if isinstance(error, InputError):
        return str(error)
    keep.parent.mkdir(parents=True, exist_ok=True)
    keep.write_text("".join(traceback.format_exception(error)))
    return f"{typed_line(error)} (traceback in {keep.name})"
