"""Labels of a frame, from their names in the file."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from jaxtyping import Float64

from esen.data.stress import StressConvention, to_stress
from esen.data.structure import Structure
from esen.errors import InputError

_ENERGY_NAME = re.compile(r"energ|(^|_)e(_|$)", re.IGNORECASE)
_UNLIKELY_ENERGY = re.compile(r"free|per|form|hull|kin|corr|band|gap|std|var", re.IGNORECASE)
_FORCES_NAME = re.compile(r"forc|(^|_)f(_|$)", re.IGNORECASE)
_STRESS_NAME = re.compile(r"stress|virial", re.IGNORECASE)


NO_LABEL = "none"
"""The name that users give for a label that the file has but that is not read."""


def energy_of(frame: Structure, key: str, *, required: bool = True) -> float | None:
    """Return the total energy in eV; None if there is none and none is required.

    Raises:
        InputError: nothing is named `key`, although an energy is required or there is one under another name; or the
            energy is not one number.
    """
    name = name_in(frame.info, key)
    if name is None:
        likely = energy_candidates(frame)
        if not required and (not likely or key == NO_LABEL):
            return None
        raise _missing(frame, "energy", key, likely, frame.info)
    energy = _numbers(frame.info[name], (1,))
    if energy is None:
        raise InputError(
            f"{frame.source}: {name} is {frame.info[name]!r}, expected one number, the energy in eV"
        )
    return float(energy[0])


def energy_candidates(frame: Structure) -> list[str]:
    """Return the names under which a frame may hold its energy, the likeliest first."""
    named = [k for k, v in frame.info.items() if _numbers(v, (1,)) is not None and _ENERGY_NAME.search(k)]
    return sorted(named, key=lambda name: bool(_UNLIKELY_ENERGY.search(name)))


def forces_of(frame: Structure, key: str, *, required: bool = True) -> Float64[np.ndarray, "N 3"] | None:
    """Return the forces in eV/Å; None if there are none and none are required.

    Raises:
        InputError: nothing is named `key`, although forces are required or there are some under another name; or the
            forces are not three numbers per atom.
    """
    shape = (len(frame.numbers), 3)
    name = name_in(frame.arrays, key)
    if name is None:
        vectors = [k for k, v in frame.arrays.items() if v.shape == shape and v.dtype.kind == "f"]
        likely = forces_candidates(frame)
        if not required and (not likely or key == NO_LABEL):
            return None
        raise _missing(frame, "forces", key, likely or vectors, frame.arrays)
    forces = frame.arrays[name]
    if forces.shape != shape or forces.dtype.kind not in "if":
        raise InputError(f"{frame.source}: {name} is not three numbers per atom, which forces must be")
    return forces.astype(np.float64)


def forces_candidates(frame: Structure) -> list[str]:
    """Return the names under which a frame may hold its forces."""
    shape = (len(frame.numbers), 3)
    vectors = [k for k, v in frame.arrays.items() if v.shape == shape and v.dtype.kind == "f"]
    return [name for name in vectors if _FORCES_NAME.search(name)]


def stress_of(frame: Structure, key: str, convention: StressConvention) -> Float64[np.ndarray, "3 3"] | None:
    """Return the stress in eV/Å³; None if there is none, or if not all three lattice vectors are periodic.

    Raises:
        InputError: the value named `key` is not 6 or 9 numbers.
    """
    name = name_in(frame.info, key)
    if name is None:
        return None
    values = _numbers(frame.info[name], (6, 9))
    if values is None:
        given = frame.info[name]
        raise InputError(
            f"{frame.source}: {name} is {given!r}, expected 9 numbers, or 6: xx, yy, zz, yz, xz, xy"
        )
    volume = float(abs(np.linalg.det(frame.cell)))
    if not frame.pbc.all() or volume == 0.0:
        return None
    return to_stress(values, convention, volume)


def stress_candidates(frame: Structure) -> list[str]:
    """Return the names under which a frame may have its stress."""
    named = [name for name in frame.info if _STRESS_NAME.search(name)]
    return [name for name in named if _numbers(frame.info[name], (6, 9)) is not None]


@dataclass(frozen=True)
class Reading:
    """How labels are read: their names in the files, the convention of the stress, and which labels are required."""

    energy_key: str = "energy"
    forces_key: str = "forces"
    stress_key: str = "stress"
    stress_convention: StressConvention = "ase"
    required: tuple[str, ...] = field(default=("energy", "forces"), kw_only=True)
    """Labels without which a frame is refused."""

    @classmethod
    def of(cls, spec: Any) -> Self:
        """Return the names and the convention that a recipe's `DataSpec` states."""
        return cls(**{name: getattr(spec, name) for name in _STATED})

    def of_source(self, source: Any) -> Self:
        """Return the reading with what a recipe's `SourceSpec` states about its own files; None is unstated."""
        return replace(self, **{name: own for name in _STATED if (own := getattr(source, name)) is not None})

    def labelled(self, frame: Structure, *, fixed_units: bool) -> Structure:
        """Return a parsed frame with its labels.

        Args:
            frame: `info` and `arrays` hold all values by their names in the file.
            fixed_units: whether the format fixes units and signs, so that the convention is not used.

        Raises:
            InputError: a required label is missing, or a label has the wrong shape.
        """
        taken = {name_in(frame.info, key) for key in (self.energy_key, self.stress_key)}
        return replace(
            frame,
            energy=energy_of(frame, self.energy_key, required="energy" in self.required),
            forces=forces_of(frame, self.forces_key, required="forces" in self.required),
            stress=stress_of(frame, self.stress_key, "ase" if fixed_units else self.stress_convention),
            info={key: value for key, value in frame.info.items() if key not in taken},
            arrays={},
            constraints=(),
        )


_STATED = ("energy_key", "forces_key", "stress_key", "stress_convention")


def name_in(names: Mapping[str, Any], key: str) -> str | None:
    """Return the name that is `key`, or else the only one that differs from it in upper and lower case.

    >>> name_in({"Energy": 1, "e": 2}, "energy"), name_in({"Energy": 1, "ENERGY": 2}, "energy")
    ('Energy', None)
    """
    if key in names:
        return key
    same = [name for name in names if name.lower() == key.lower()]
    return same[0] if len(same) == 1 else None


def _numbers(value: Any, sizes: tuple[int, ...]) -> Float64[np.ndarray, " K"] | None:
    """Return the value as a flat array if it is numbers, as many as one of `sizes`."""
    array = np.asarray(value)
    return array.astype(np.float64).ravel() if array.dtype.kind in "if" and array.size in sizes else None


def _missing(frame: Structure, label: str, key: str, likely: list[str], there: Iterable[str]) -> InputError:
    if key == NO_LABEL:
        return InputError(
            f"{frame.source}: data.{label}_key is none, but {label} is needed; name it, or write train.loss.{label}: 0"
        )
    start = f"{frame.source}: no {label} under {key!r}; the frame has "
    if likely:
        return InputError(f"{start}{', '.join(likely)}: write data.{label}_key: {likely[0]}")
    names = ", ".join(there)
    return InputError(
        f"{start}{f'only {names}' if names else 'nothing of the kind'}: expected data.{label}_key"
    )
