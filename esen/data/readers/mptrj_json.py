"""MPtrj as it is published: one JSON of 12 GB, `{mp_id: {frame_id: {structure, force, stress, …}}}`, read as a stream.

Energies are in eV, forces in eV/Å; the stress is VASP's, in kBar, positive under compression.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from ase.data import atomic_numbers

from esen.data.readers.frame import Frame, Record
from esen.data.readers.opening import opened
from esen.data.stress import to_stress
from esen.errors import InputError

CHUNK = 1 << 22
"""Characters that are read at once."""

_LONGEST_WORD = 4096
"""A mistake that is further than this from the end of what was read is not due to its end."""

_DEFAULT_ENERGY = "uncorrected_total_energy"
_ENERGIES = (_DEFAULT_ENERGY, "corrected_total_energy")
_INFO = ("mp_id", "bandgap")
_SPACE = " \t\r\n"


def mptrj_records(path: Path) -> Iterator[Record]:
    """The frames of the file, in its order; no more than a chunk and a frame is in memory.

    Raises:
        InputError: it cannot be read, is not JSON of this layout, or a frame is not as it should be.
    """
    count = 0
    with opened(path, "JSON", lambda: f"frame {count - 1}") as (file, part):
        stream = _Stream(file, path)
        for mp_id in stream.entries():
            for frame_id in stream.entries():
                stream.place = source = f"{path}, {mp_id}/{frame_id}"
                yield Record(_frame(stream.value(), frame_id, source), source, done=part())
                count += 1
    if not count:
        raise InputError(f"{path}: holds no frames")


def is_mptrj(start: str) -> bool:
    """Whether a file that begins so may be MPtrj's JSON."""
    return start.lstrip().startswith("{") and '"structure"' in start


class _Stream:
    """JSON, of which a part is in memory, and a place in it."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self.file = file
        self.place = str(path)
        self.text = ""
        self.at = 0
        self.ended = False
        self.decode = json.JSONDecoder().raw_decode

    def entries(self) -> Iterator[str]:
        """The keys of the object that begins here. The value of each must be taken before the next key."""
        self.expect("{")
        if self.symbol() == "}":
            self.at += 1
            return
        while True:
            key = self.value()
            if not isinstance(key, str):
                raise self.mistake("a key")
            self.expect(":")
            yield key
            if self.symbol() == "}":
                self.at += 1
                return
            self.expect(",")

    def value(self) -> Any:
        """What stands here, as Python has it."""
        self.symbol()
        while True:
            try:
                value, self.at = self.decode(self.text, self.at)
            except json.JSONDecodeError as error:
                if self.ended or error.pos < len(self.text) - _LONGEST_WORD:
                    raise self.mistake(f"JSON ({error.msg})") from error
                self.read_on()
            else:
                return value

    def expect(self, symbol: str) -> None:
        """Go past the symbol that must stand here."""
        if self.symbol() != symbol:
            raise self.mistake(f"'{symbol}'")
        self.at += 1

    def symbol(self) -> str:
        """The next character that is not space; where the file ends, nothing."""
        while True:
            while self.at < len(self.text):
                if self.text[self.at] not in _SPACE:
                    return self.text[self.at]
                self.at += 1
            if self.ended:
                return ""
            self.read_on()

    def read_on(self) -> None:
        """Take in the next part of the file, and forget what lies behind."""
        more = self.file.read(CHUNK)
        self.ended = not more
        self.text, self.at = self.text[self.at :] + more, 0

    def mistake(self, expected: str) -> InputError:
        """What to tell the user."""
        if not self.text[self.at :].strip():
            return InputError(f"{self.place}: the file is cut off, expected {expected}")
        return InputError(f"{self.place}: expected {expected}, got {self.text[self.at : self.at + 20]!r}…")


def _frame(entry: Any, frame_id: str, source: str) -> Frame:
    try:
        structure = entry["structure"]
        cell = np.array(structure["lattice"]["matrix"], dtype=np.float64).reshape(3, 3)
        sites = structure["sites"]
        if any(len(site["species"]) != 1 or site["species"][0].get("occu", 1) != 1 for site in sites):
            raise InputError(f"{source}: a site is disordered; expected one element a site")
        numbers = np.array([atomic_numbers[site["species"][0]["element"]] for site in sites], dtype=np.int64)
        positions = np.array([site["xyz"] for site in sites], dtype=np.float64).reshape(-1, 3)
        values = {"frame_id": frame_id} | {key: entry[key] for key in _INFO if entry.get(key) is not None}
        values |= {key: float(entry[key]) for key in _ENERGIES if entry.get(key) is not None}
        if _DEFAULT_ENERGY in values:
            values["energy"] = values[_DEFAULT_ENERGY]
        if entry.get("stress") is not None:
            stress = np.array(entry["stress"], dtype=np.float64).ravel()
            values["stress"] = to_stress(stress, "vasp_kbar", abs(np.linalg.det(cell))).ravel()
        arrays = {}
        if entry.get("force") is not None:
            arrays["forces"] = np.array(entry["force"], dtype=np.float64).reshape(-1, 3)
    except KeyError as error:
        raise InputError(f"{source}: {error} is missing, or no element") from error
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(f"{source}: is not a frame of MPtrj ({error})") from error
    return Frame(numbers, positions, cell, np.ones(3, dtype=np.bool_), values, arrays, source, converted=True)
