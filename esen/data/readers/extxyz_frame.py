"""A frame of extended XYZ: its comment line, and its table of atoms.

Names of geometry and columns are understood in any case (`Lattice`, `lattice`). Everything else that deviates from the
format is an error that names the line, because a library that skips it would read other atoms than the file has.
"""

import re
from contextlib import suppress
from typing import Any

import numpy as np
from ase.constraints import FixAtoms, FixCartesian, FixConstraint
from ase.data import atomic_numbers
from jaxtyping import Bool, Float64

from esen.data.masses import ISOTOPES, standard_masses
from esen.data.readers.frame import RawFrame
from esen.data.structure import Structure
from esen.errors import InputError
from esen.files import parse_json

_TOKEN = re.compile(
    r"""  "((?:[^"\\]|\\.)*+)(?:"|$) | '((?:[^'\\]|\\.)*+)(?:'|$)
    | \{((?:[^}\\]|\\.)*+)(?:\}|$) | \[((?:[^\]\\]|\\.)*+)(?:\]|$)
    | (\s*=\s*) | (\s+) | \\(.) | ([^\s='"{}\[\]\\]+) | (.)  """,
    re.VERBOSE | re.DOTALL,
)
"""A part of a comment line; a quotation that is not closed extends to the end."""
_EQUALS, _SPACE = 5, 6
"""Groups of `_TOKEN` that separate; the others are parts of keys and values."""

_MARKED = re.compile(r"\b(lattice|properties)\s*=", re.IGNORECASE)
"""Shows that the comment line is not prose, as in plain XYZ."""
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_WORDS = re.compile(r"[^\s,]+")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?(?:nan|inf(?:inity)?)", re.ASCII | re.I)
_TRUTH = {"t": True, "f": False, "true": True, "false": False, "1": True, "0": False}
_TRUTH_WORDS = {"T", "F"} | {
    case for word in ("true", "false") for case in (word, word.capitalize(), word.upper())
}
"""Spellings of truth in values of the comment line, as ASE reads them."""
_COLUMN = re.compile(r"([^:]+):([RISL]):([1-9]\d{0,4})", re.ASCII | re.I)
_COLUMN_NAMES = {"symbols": "species", "positions": "pos", "numbers": "z"}
_GEOMETRY = {
    "species": (("S", 1),),
    "z": (("I", 1),),
    "pos": (("R", 3), ("I", 3)),
    "move_mask": tuple((kind, width) for kind in "LIR" for width in (1, 3)),
}
"""Columns of the geometry, in lower case, with the types and numbers of columns that they may have."""
_CELL_NAMES = re.compile(r"(unit_?)?cell|box|(lattice|cell)_?(vectors?|matrix)|latt?ice?", re.IGNORECASE)


Column = tuple[str, str, int]
"""Name (in lower case, if it is of the geometry), type (R, I, S or L) and number of words in a row."""


def parse_extxyz(raw: RawFrame) -> Structure:
    """Parse the text of a frame.

    Raises:
        InputError: the text is not a frame of extended XYZ; the message says what is wrong with it.
    """
    _, comment, body = raw.content.split("\n", 2)
    try:
        given = _pairs(comment)
        cell, pbc = _geometry(given)
        properties = _take(given, "Properties")
        columns = _columns(properties if properties is not None else "species:S:1:pos:R:3")
        unnamed = properties is None and not cell.any()
        arrays = _arrays(body, columns, raw.line + 2, may_have_more=unnamed)
    except ValueError as error:
        raise InputError(f"{raw.source} (line {raw.line}): {error}") from error
    numbers = arrays.pop("z", None)
    species = arrays.pop("species", numbers)
    if numbers is not None and (numbers != species).any():
        atom = int(np.flatnonzero(numbers != species)[0])
        raise InputError(
            f"{raw.source} (line {raw.line + 2 + atom}): species and Z are of different elements"
        )
    assert species is not None
    mask = arrays.pop("move_mask", np.ones(1))
    for row in np.flatnonzero(~np.isin(mask, (0, 1)).reshape(len(mask), -1).all(axis=1)):
        raise InputError(f"{raw.source} (line {raw.line + 2 + row}): expected 0, 1, T or F in move_mask")
    return Structure(
        numbers=species,
        positions=arrays.pop("pos"),
        cell=cell,
        pbc=pbc,
        info={key: _value(key, text) for key, text in given.items()},
        arrays={"charges" if name == "charge" else name: array for name, array in arrays.items()},
        source=raw.source,
        constraints=_fixed(~mask.astype(np.bool_)),
    )


def _fixed(mask: Bool[np.ndarray, "..."]) -> tuple[FixConstraint, ...]:
    """Return the constraints of atoms, or of their Cartesian components, that may not move."""
    if mask.ndim == 1:
        return (FixAtoms(mask=mask),) if mask.any() else ()
    return tuple(FixCartesian(atom, mask=mask[atom]) for atom in np.flatnonzero(mask.any(axis=1)).tolist())


def shown(line: str) -> str:
    """Return the beginning of a line as a message shows it."""
    line = line.strip()
    return repr(line if len(line) <= 40 else line[:37] + "…")


def _pairs(comment: str) -> dict[str, str]:
    """Return the keys of the comment line with the texts of their values; a key without a value has T.

    Raises:
        ValueError: a key has two values.
    """
    found: list[list[str]] = []
    apart = True
    for token in _TOKEN.finditer(comment.strip()):
        group = token.lastindex or 0
        if group == _EQUALS and found:
            found[-1].append("")
            apart = False
        elif group == _SPACE:
            apart = True
        elif group != _EQUALS:
            text = token.group(group)
            if group < _EQUALS and len(token.group()) == len(text) + 1 and _MARKED.search(comment):
                raise ValueError(
                    f"the comment line has a quotation that does not end: {shown(token.group())}"
                )
            if apart:
                found.append([""])
            found[-1][-1] += _ESCAPED.sub(r"\1", text) if group < _EQUALS else text
            apart = False
    pairs: dict[str, str] = {}
    for key, *values in found:
        text = "=".join(values) if values else "T"
        if pairs.setdefault(key, text) != text:
            raise ValueError(f"the comment line has {key} twice, with different values")
    return pairs


def _take(given: dict[str, str], name: str) -> str | None:
    """Remove a key, in upper or lower case, and return its text.

    Raises:
        ValueError: the key is there in several spellings.
    """
    keys = [key for key in given if key.lower() == name.lower()]
    if len(keys) > 1:
        raise ValueError(f"the comment line has {' and '.join(keys)}; expected one {name}")
    return given.pop(keys[0]) if keys else None


def _geometry(given: dict[str, str]) -> tuple[Float64[np.ndarray, "3 3"], Bool[np.ndarray, "3"]]:
    """Take the cell and its periodic rows out of the values of the comment line.

    Raises:
        ValueError: they are not nine numbers and three truth values.
    """
    lattice, periods = _take(given, "Lattice"), _take(given, "pbc")
    cell = np.zeros((3, 3))
    if lattice is not None:
        numbers = _numbers(_WORDS.findall(lattice))
        if numbers is None or len(numbers) != 9 or not np.isfinite(numbers).all():
            raise ValueError(
                f"Lattice is {shown(lattice)}, expected nine numbers: one lattice vector after another"
            )
        cell = np.array(numbers, dtype=np.float64).reshape(3, 3)
    else:
        for key, text in given.items():
            if _CELL_NAMES.fullmatch(key) and len(_numbers(_WORDS.findall(text)) or ()) in (3, 6, 9):
                raise ValueError(
                    f'there is no Lattice, but {key}={shown(text)}; write Lattice="…" of nine numbers'
                )
    pbc = [lattice is not None] * 3
    if periods is not None:
        words = _WORDS.findall(periods)
        if len(words) not in (1, 3) or any(word.lower() not in _TRUTH for word in words):
            raise ValueError(f"pbc is {shown(periods)}, expected three of T or F")
        pbc = [_TRUTH[word.lower()] for word in (words if len(words) == 3 else words * 3)]
    return cell, np.array(pbc, dtype=np.bool_)


def _columns(properties: str) -> list[Column]:
    """Return the columns that `Properties` names.

    Raises:
        ValueError: it is not of the form name:type:count, or has no element or position.
    """
    found = _COLUMN.findall(properties)
    lower = {name: _COLUMN_NAMES.get(name.lower(), name.lower()) for name, _, _ in found}
    own = {name: lower[name] if lower[name] in _GEOMETRY else name for name in lower}
    columns = [(own[name], kind.upper(), int(count)) for name, kind, count in found]
    names = [name for name, _, _ in columns]
    right = all((kind, count) in _GEOMETRY.get(name, ((kind, count),)) for name, kind, count in columns)
    whole = ":".join(map(":".join, found)) == properties and len(set(names)) == len(names)
    if not (right and whole and "pos" in names and ("species" in names or "z" in names)):
        raise ValueError(
            f"Properties is {properties!r}, expected name:type:count of all columns, with types R, I, S or L and each"
            " name once, among them pos:R:3, and species:S:1 or Z:I:1"
        )
    return columns


def _arrays(body: str, columns: list[Column], line: int, *, may_have_more: bool) -> dict[str, np.ndarray]:
    """Return the array of each column.

    Args:
        body: the lines of the atoms.
        columns: the columns that `Properties` names.
        line: number of the first of these lines in the file.
        may_have_more: plain XYZ, where columns after the position have no names; they are skipped.

    Raises:
        ValueError: a row has another number of columns, or a word is not what its column holds.
    """
    rows = body.removesuffix("\n").split("\n")
    width = sum(count for _, _, count in columns)
    first = len(rows[0].split())
    stride = first if may_have_more and first > width else width
    words = body.split()
    # Where an element stands at every place where a row should begin, and numbers everywhere else, all rows are right.
    only_numbers = all(kind == "R" for _, kind, _ in columns[1:]) and columns[0][0] == "species"
    if stride > width or len(words) != len(rows) * stride or not only_numbers:
        _check_widths(rows, stride, line)
    strict = "_" in body or not body.isascii()
    arrays, start = {}, 0
    for name, kind, count in columns:
        taken = [words[start + i :: stride] for i in range(count)]
        try:
            arrays[name] = _array(name, kind, taken, strict=strict)
        except (KeyError, ValueError, OverflowError):
            _check_widths(rows, stride, line)
            raise ValueError(_wrong_word(name, kind, taken, line)) from None
        start += count
        if name == "species" and not ISOTOPES.keys().isdisjoint(taken[0]):
            usual = standard_masses(arrays[name])
            arrays["masses"] = np.array(
                [ISOTOPES.get(w, mass) for w, mass in zip(taken[0], usual, strict=True)]
            )
    return arrays


def _array(name: str, kind: str, words: list[list[str]], *, strict: bool) -> np.ndarray:
    """Return the array of a column.

    Raises:
        KeyError: a word is no element, or neither true nor false.
        ValueError: a word is not a number, or a position is not finite.
        OverflowError: a whole number is too large.
    """
    if name == "species":
        known = atomic_numbers | dict.fromkeys(ISOTOPES, 1)
        return np.array([known.get(w) or known[w.capitalize()] for w in words[0]], np.int64)
    if strict and kind in ("R", "I") and not all(_NUMBER.fullmatch(w) for ws in words for w in ws):
        raise ValueError
    if kind == "R" or name == "pos":
        array = np.array([list(map(float, ws)) for ws in words], dtype=np.float64)
        finite = np.isfinite(array)
        if not finite.all() and (name == "pos" or _overflows(words)):
            raise ValueError
    elif kind == "I":
        array = np.array([list(map(int, ws)) for ws in words], dtype=np.int64)
    elif kind == "L":
        array = np.array([[_TRUTH[w.lower()] for w in ws] for ws in words], dtype=np.bool_)
    else:
        array = np.array(words, dtype=object)
    return array[0].copy() if len(words) == 1 else np.ascontiguousarray(array.T)


def _check_widths(rows: list[str], width: int, line: int) -> None:
    """Refuse a row with other than `width` columns.

    Raises:
        ValueError: naming the first such row.
    """
    for number, row in enumerate(rows, start=line):
        if (found := len(row.split())) != width:
            raise ValueError(
                f"says {len(rows)} atoms of {width} columns, but line {number} has {found}: {shown(row)}"
            )


def _wrong_word(name: str, kind: str, words: list[list[str]], line: int) -> str:
    """Return what is wrong with the first word that is not what its column holds."""
    kinds = {"R": "a finite number", "I": "a whole number", "L": "T or F", "S": "an element"}
    for number, row in enumerate(zip(*words, strict=True), start=line):
        for word in row:
            try:
                _array(name, kind, [[word]], strict=True)
            except (KeyError, ValueError, OverflowError):
                return f"line {number}: {shown(word)} is not {kinds[kind]} ({name})"
    raise AssertionError("every word is right")


def _overflows(words: list[list[str]]) -> bool:
    """Return whether a word is the digits of a number that is too large for float64."""
    return any(float(w) in (np.inf, -np.inf) and "n" not in w.lower() for ws in words for w in ws)


def _numbers(words: list[str]) -> list[float] | None:
    """Return the words as numbers; None if one is not a number that float64 holds."""
    if all(_NUMBER.fullmatch(word) for word in words) and not _overflows([words]):
        return [float(word) for word in words]
    return None


def _value(key: str, text: str) -> Any:
    """Return a number, an array of numbers, a truth value, a list of truth values, JSON, or the text itself."""
    words = _WORDS.findall(text)
    if not words or key.lower() == "uid":
        return text
    if text.startswith("_JSON "):
        return _json(text.removeprefix("_JSON "))
    numbers = _numbers(words)
    if numbers is not None:
        array = np.array(numbers)
        with suppress(ValueError, OverflowError):
            array = np.array([int(word) for word in words], dtype=np.int64)
        return array[0] if len(array) == 1 else array
    if any(word not in _TRUTH_WORDS for word in words):
        return text
    truths = [_TRUTH[word.lower()] for word in words]
    return truths[0] if len(truths) == 1 else truths


def _json(text: str) -> Any:
    value = parse_json(text)
    try:
        array = np.array(value)
    except ValueError:  # rows of different lengths
        return value
    return array if array.dtype.kind in "ifb" else value
