"""The frames of extended XYZ that nearly all files consist of, read faster than by ASE, to the same numbers.

Plain is: symbols, then positions, then columns of real numbers; a comment of `key`, `key=value` and `key="value"`.
Whatever else is met is left to ASE, a mistake too.
"""

import re
from typing import Any

import numpy as np
from ase.data import atomic_numbers

from esen.data.readers.frame import Frame

_PAIR = re.compile(r"""\s*([^\s='"{}\[\]\\]+)(?:=(?:"([^"\\]+)"|([^\s='"{}\[\]\\]+)))?(?!\S)""")
_PIECES = re.compile(r"[^\s,]+")
_TRUTH = {"T": True, "F": False} | {
    word: value
    for text, value in (("true", True), ("false", False))
    for word in (text, text.capitalize(), text.upper())
}
_TENSORS = {"Lattice", "stress", "virial"}
_TAKEN = {"species", "pos", "symbols", "positions", "numbers", "Z", "charge", "initial_charges", "move_mask"}


def parse_plain(text: str, source: str) -> Frame | None:
    """The frame, or None where it is not plain."""
    header, comment, body = text.split("\n", 2)
    values = _comment(comment)
    if values is None:
        return None
    columns = _columns(values.pop("Properties", "species:S:1:pos:R:3"))
    cell, pbc = _geometry(values)
    if columns is None or cell is None or pbc is None:
        return None
    atoms, width = int(header), 1 + sum(columns.values())
    words = body.split()
    if len(words) != atoms * width:
        return None
    try:
        numbers = np.array([atomic_numbers[symbol] for symbol in words[::width]], dtype=np.int64)
        del words[::width]
        table = np.array(list(map(float, words)), dtype=np.float64).reshape(atoms, width - 1)
    except (KeyError, ValueError):
        return None
    arrays, start = {}, 0
    for name, count in columns.items():
        block = table[:, start : start + count]
        arrays[name] = block[:, 0].copy() if count == 1 else block.copy()
        start += count
    return Frame(numbers, arrays.pop("pos"), cell, pbc, values, arrays, source)


def _columns(properties: Any) -> dict[str, int] | None:
    """How many columns each array has, positions first."""
    parts = properties.split(":") if isinstance(properties, str) else []
    names, kinds, counts = parts[::3], parts[1::3], parts[2::3]
    if names[:2] != ["species", "pos"] or kinds[0] != "S" or counts[:2] != ["1", "3"]:
        return None
    others = names[2:]
    if any(kind != "R" for kind in kinds[1:]) or len(set(others)) < len(others) or _TAKEN & set(others):
        return None
    if len(counts) < len(names) or not all(count.isdecimal() and int(count) > 0 for count in counts):
        return None
    return {name: int(count) for name, count in zip(names[1:], counts[1:], strict=True)}


def _geometry(values: dict[str, Any]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Cell and periods, taken out of the values; None for what is not plain."""
    lattice = values.pop("Lattice", None)
    pbc = values.pop("pbc", [lattice is not None] * 3)
    cell = np.zeros((3, 3))
    if lattice is not None:
        if not isinstance(lattice, np.ndarray) or lattice.shape != (9,):
            return None, None
        cell = lattice.astype(np.float64).reshape(3, 3)
    if not isinstance(pbc, list) or len(pbc) != 3:
        return None, None
    return cell, np.array(pbc, dtype=np.bool_)


def _comment(comment: str) -> dict[str, Any] | None:
    """All pairs of the comment, their values as ASE understands them; None where there is anything else."""
    comment = comment.strip()
    if not comment.isascii():
        return None
    values, end = {}, 0
    while end < len(comment):
        pair = _PAIR.match(comment, end)
        if pair is None:
            return None
        end = pair.end()
        key, quoted, bare = pair.groups()
        text = quoted or bare or "T"
        bare_tensor = key in _TENSORS and not (quoted or bare)
        if bare_tensor or text.startswith("_JSON ") or not _PIECES.search(text):
            return None
        values[key] = text if key.lower() == "uid" else _value(text)
    return values


def _value(text: str) -> Any:
    """A number, an array of numbers, a truth value, a list of those, or the text itself."""
    pieces = _PIECES.findall(text)
    for kind, dtype in ((int, np.int64), (float, np.float64)):
        try:
            numbers = np.array(list(map(kind, pieces)), dtype=dtype)
        except (ValueError, OverflowError):
            continue
        return numbers[0] if len(numbers) == 1 else numbers
    truths = [_TRUTH[piece] for piece in pieces if piece in _TRUTH]
    if len(truths) < len(pieces):
        return text
    return truths[0] if len(truths) == 1 else truths
