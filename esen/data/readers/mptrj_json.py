"""MPtrj as published: one JSON file of 12 GB, `{mp_id: {frame_id: {structure, force, stress, …}}}`, read as a stream.

Energies are in eV and forces in eV/Å. The stress is VASP's, in kBar, positive under compression.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from ase.data import atomic_numbers

from esen.data.readers.frame import RawFrame, reals, refusing
from esen.data.readers.opening import opened
from esen.data.stress import to_stress
from esen.data.structure import Structure
from esen.errors import InputError
from esen.files import refuse_nesting

CHUNK = 1 << 22
"""Characters read at once."""

_LONGEST_WORD = 4096
"""An error further than this from the end of the text read so far cannot be caused by that end."""

_DEFAULT_ENERGY = "uncorrected_total_energy"
_ENERGIES = (_DEFAULT_ENERGY, "corrected_total_energy")
_INFO = ("mp_id", "bandgap")
_SPACE = re.compile(r"[ \t\r\n]+")


def mptrj_frames(path: Path) -> Iterator[RawFrame]:
    """Iterate over the frames of the file in its order, with at most a chunk and a frame in memory.

    Raises:
        InputError: the file cannot be read or is not JSON of this layout, or a frame is wrong.
    """
    count = 0
    with opened(path) as (file, part):
        stream = _Stream(file, path)
        for mp_id in stream.entries():
            for frame_id in stream.entries():
                stream.place = source = f"{path}, {mp_id}/{frame_id}"
                yield RawFrame(_structure(stream.value(), frame_id, source), source, done=part())
                count += 1
    if not count:
        raise InputError(f"{path}: holds no frames")


def is_mptrj(start: str) -> bool:
    """Return whether a file with this beginning may be MPtrj's JSON."""
    return start.lstrip().startswith("{") and '"structure"' in start


class _Stream:
    """A position in a JSON file of which only a part is in memory."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self.file = file
        self.place = str(path)
        self.text = ""
        self.at = 0
        self.ended = False
        self.decode = json.JSONDecoder().raw_decode

    def entries(self) -> Iterator[str]:
        """Iterate over the keys of the object that begins here; the caller takes each value before the next key."""
        self.expect("{")
        while self.symbol() != "}":
            key = self.value()
            if not isinstance(key, str):
                raise self.mistake("a key")
            self.expect(":")
            yield key
            if self.symbol() != "}":
                self.expect(",")
        self.at += 1

    def value(self) -> Any:
        """Return the JSON value that begins here."""
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
        """Skip the symbol, which must come next."""
        if self.symbol() != symbol:
            raise self.mistake(f"'{symbol}'")
        self.at += 1

    def symbol(self) -> str:
        """Return the next character that is not white space; at the end of the file, an empty string."""
        while True:
            space = _SPACE.match(self.text, self.at)
            self.at = space.end() if space else self.at
            if self.at < len(self.text) or self.ended:
                return self.text[self.at : self.at + 1]
            self.read_on()

    def read_on(self) -> None:
        """Read the next part of the file, and drop the text before this position."""
        more = self.file.read(CHUNK)
        try:
            refuse_nesting(more)
        except ValueError as error:
            raise InputError(f"{self.place}: {error}") from error
        self.ended = not more
        self.text, self.at = self.text[self.at :] + more, 0

    def mistake(self, expected: str) -> InputError:
        """Return the error for the user."""
        if not self.text[self.at :].strip():
            return InputError(f"{self.place}: the file is cut off, expected {expected}")
        return InputError(f"{self.place}: expected {expected}, got {self.text[self.at : self.at + 20]!r}…")


def _structure(entry: Any, frame_id: str, source: str) -> Structure:
    with refusing(lambda: f"{source}: no frame of MPtrj"):
        structure = entry["structure"]
        cell = reals(structure["lattice"]["matrix"], (3, 3), "lattice")
        sites = structure["sites"]
        if any(len(site["species"]) != 1 or site["species"][0].get("occu", 1) != 1 for site in sites):
            raise InputError(f"{source}: a site is disordered; expected one element a site")
        numbers = np.array([atomic_numbers[site["species"][0]["element"]] for site in sites], dtype=np.int64)
        positions = reals([site["xyz"] for site in sites], (len(numbers), 3), "xyz")
        values = {"frame_id": frame_id} | {key: entry[key] for key in _INFO if entry.get(key) is not None}
        values |= {key: float(entry[key]) for key in _ENERGIES if entry.get(key) is not None}
        if _DEFAULT_ENERGY in values:
            values["energy"] = values[_DEFAULT_ENERGY]
        if entry.get("stress") is not None:
            stress = reals(entry["stress"], (9,), "stress")
            values["stress"] = to_stress(stress, "vasp_kbar", abs(np.linalg.det(cell))).ravel()
        arrays = {}
        if entry.get("force") is not None:
            arrays["forces"] = reals(entry["force"], (len(numbers), 3), "force")
    pbc = np.ones(3, dtype=np.bool_)
    return Structure(numbers, positions, cell, pbc, info=values, arrays=arrays, source=source)
