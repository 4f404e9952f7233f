"""From a file's own names to energy, forces and stress."""

import re
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
from jaxtyping import Float64

from esen.data.readers.frame import Frame
from esen.data.stress import StressConvention, to_stress
from esen.data.structure import Structure
from esen.errors import InputError

_ENERGY_NAME = re.compile(r"energ|(^|_)e(_|$)", re.IGNORECASE)
_UNLIKELY_ENERGY = re.compile(r"free|per|form|hull|kin|corr|band|gap|std|var", re.IGNORECASE)
_FORCES_NAME = re.compile(r"forc|(^|_)f(_|$)", re.IGNORECASE)
_STRESS_NAME = re.compile(r"stress|virial", re.IGNORECASE)


NO_LABEL = "none"
"""The name to give for a label that the file has, and that is not to be read."""


def energy_of(frame: Frame, key: str, *, required: bool = True) -> float | None:
    """The total energy, in eV; None where there is none and none is required.

    Raises:
        InputError: the frame has nothing under `key`, but an energy is required or it has one under another name; or
            it is not one number.
    """
    if key not in frame.values:
        likely = [
            k for k, v in frame.values.items() if _numbers(v, (1,)) is not None and _ENERGY_NAME.search(k)
        ]
        likely.sort(key=lambda name: bool(_UNLIKELY_ENERGY.search(name)))
        if not required and (not likely or key == NO_LABEL):
            return None
        raise _missing(frame, "energy", key, likely, frame.values)
    energy = _numbers(frame.values[key], (1,))
    if energy is None:
        raise InputError(
            f"{frame.source}: {key} is {frame.values[key]!r}, expected one number, the energy in eV"
        )
    return float(energy[0])


def forces_of(frame: Frame, key: str, *, required: bool = True) -> Float64[np.ndarray, "N 3"] | None:
    """The forces, in eV/Å; None where there are none and none are required.

    Raises:
        InputError: the frame has nothing under `key`, but forces are required or it has some under another name; or
            they are not three numbers an atom.
    """
    shape = (len(frame.numbers), 3)
    if key not in frame.arrays:
        vectors = [k for k, v in frame.arrays.items() if v.shape == shape and v.dtype.kind == "f"]
        likely = [name for name in vectors if _FORCES_NAME.search(name)]
        if not required and (not likely or key == NO_LABEL):
            return None
        raise _missing(frame, "forces", key, likely or vectors, frame.arrays)
    forces = frame.arrays[key]
    if forces.shape != shape or forces.dtype.kind not in "if":
        raise InputError(f"{frame.source}: {key} is not three numbers an atom, which forces must be")
    return forces.astype(np.float64)


def stress_of(frame: Frame, key: str, convention: StressConvention) -> Float64[np.ndarray, "3 3"] | None:
    """The stress in eV/Å³; None where the file has none, or not all three lattice vectors are periods.

    Raises:
        InputError: what stands under `key` is not 6 or 9 numbers.
    """
    if key not in frame.values:
        return None
    values = _numbers(frame.values[key], (6, 9))
    if values is None:
        given = frame.values[key]
        raise InputError(
            f"{frame.source}: {key} is {given!r}, expected 9 numbers, or 6: xx, yy, zz, yz, xz, xy"
        )
    volume = float(abs(np.linalg.det(frame.cell)))
    if not frame.pbc.all() or volume == 0.0:
        return None
    return to_stress(values, convention, volume)


def stress_candidates(frame: Frame) -> list[str]:
    """The names under which a frame may hold its stress."""
    named = [name for name in frame.values if _STRESS_NAME.search(name)]
    return [name for name in named if _numbers(frame.values[name], (6, 9)) is not None]


def to_structure(
    frame: Frame,
    *,
    energy_key: str,
    forces_key: str,
    stress_key: str,
    stress_convention: StressConvention,
    required: Collection[str] = ("energy", "forces"),
) -> Structure:
    """A labelled structure.

    Args:
        frame: as it was read.
        energy_key: name of the energy.
        forces_key: name of the forces.
        stress_key: name of the stress.
        stress_convention: its unit and sign, unless the format fixes them.
        required: labels without which a frame is refused.

    Raises:
        InputError: a required label is missing, or a label has the wrong shape.
    """
    return Structure(
        numbers=frame.numbers,
        positions=frame.positions,
        cell=frame.cell,
        pbc=frame.pbc,
        energy=energy_of(frame, energy_key, required="energy" in required),
        forces=forces_of(frame, forces_key, required="forces" in required),
        stress=stress_of(frame, stress_key, "ase" if frame.converted else stress_convention),
        info={k: v for k, v in frame.values.items() if k not in (energy_key, stress_key)},
        source=frame.source,
    )


def _numbers(value: Any, sizes: tuple[int, ...]) -> Float64[np.ndarray, " K"] | None:
    """The value as a flat array, if it is numbers and as many as one of `sizes`."""
    array = np.asarray(value)
    return array.astype(np.float64).ravel() if array.dtype.kind in "if" and array.size in sizes else None


def _missing(frame: Frame, label: str, key: str, likely: list[str], there: Iterable[str]) -> InputError:
    start = f"{frame.source}: no {label} under {key!r}; the frame has "
    if likely:
        return InputError(f"{start}{', '.join(likely)}: write data.{label}_key: {likely[0]}")
    names = ", ".join(there)
    return InputError(
        f"{start}{f'only {names}' if names else 'nothing of the kind'}: expected data.{label}_key"
    )
