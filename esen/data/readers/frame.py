"""A frame as a file gives it, before anything is known of what its values mean."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64


@dataclass(frozen=True, eq=False)
class Frame:
    """What every format hands over.

    Attributes:
        numbers: atomic numbers.
        positions: in Å.
        cell: rows are lattice vectors, in Å.
        pbc: which of them are periods.
        values: what the file says of the frame, by its own names.
        arrays: what the file says of each atom, by its own names.
        source: file and frame, for messages.
        converted: whether units and signs are already those of `Structure`, as the format fixes them. Else they are
            what the user says that they are.
    """

    numbers: Int64[np.ndarray, " N"]
    positions: Float64[np.ndarray, "N 3"]
    cell: Float64[np.ndarray, "3 3"]
    pbc: Bool[np.ndarray, "3"]
    values: dict[str, Any]
    arrays: dict[str, np.ndarray]
    source: str
    converted: bool = False


@dataclass(frozen=True, eq=False)
class Record:
    """A frame that was found in a file, but not yet understood. It can be sent to another process for that.

    Attributes:
        content: of the frame: text, bytes, or a `Frame` where finding it was reading it.
        source: file and frame, for messages.
        line: of the file, where it begins; 0 where the file has no lines.
        done: the part of the file that has been gone through, 0 to 1.
    """

    content: Any
    source: str
    line: int = 0
    done: float = 1.0
