"""What an evaluation of errors found, as data."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64


@dataclass(frozen=True)
class Errors:
    """The errors of `count` numbers; NaN where there is none."""

    mae: float
    rmse: float
    count: int


@dataclass(frozen=True)
class GroupErrors:
    """Errors of a group of structures or atoms.

    Attributes:
        energy: in meV/atom, one number a structure.
        forces: in meV/Å, three numbers an atom.
        stress: in meV/Å³, nine numbers a structure.
    """

    energy: Errors
    forces: Errors
    stress: Errors


@dataclass(frozen=True, eq=False)
class Parity:
    """Reference and prediction, number by number; only where both are finite."""

    reference: Float64[np.ndarray, " M"]
    predicted: Float64[np.ndarray, " M"]


@dataclass(frozen=True)
class FrameErrors:
    """One structure: errors in meV/atom, meV/Å and meV/Å³, energies in eV; NaN where something is missing."""

    source: str
    config_type: str
    atoms: int
    energy_reference: float
    energy_predicted: float
    energy_error: float
    forces_mae: float
    forces_max: float
    stress_mae: float


@dataclass(frozen=True)
class Counts:
    """Numbers of structures, one a quantity."""

    energy: int
    forces: int
    stress: int


@dataclass(frozen=True, eq=False)
class MaeReport:
    """Errors of a potential on a set of structures.

    Attributes:
        frames: one a structure, in the order given.
        atoms: in all structures.
        overall: of everything.
        elements: by chemical symbol: forces on the element's atoms, energy and stress of structures with it.
        config_types: by `info["config_type"]`, of the structures that have one.
        missing: structures without the label, left out.
        not_finite: structures with a label but a NaN or infinite prediction. Those numbers are in no mean, so
            a potential with such structures is worse than its errors say.
        energy: in eV/atom.
        forces: components, in eV/Å.
        stress: components, in eV/Å³.
    """

    frames: tuple[FrameErrors, ...]
    atoms: int
    overall: GroupErrors
    elements: dict[str, GroupErrors]
    config_types: dict[str, GroupErrors]
    missing: Counts
    not_finite: Counts
    energy: Parity
    forces: Parity
    stress: Parity

    def to_json(self) -> dict[str, Any]:
        """All but the single frames and numbers, as plain values; null for NaN."""
        return {
            "structures": len(self.frames),
            "atoms": self.atoms,
            "units": {"energy": "meV/atom", "forces": "meV/Å", "stress": "meV/Å³"},
            "overall": _plain(asdict(self.overall)),
            "elements": {name: _plain(asdict(group)) for name, group in self.elements.items()},
            "config_types": {name: _plain(asdict(group)) for name, group in self.config_types.items()},
            "missing": asdict(self.missing),
            "not_finite": asdict(self.not_finite),
        }


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """NaN is not JSON."""
    plain: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            plain[key] = _plain(value)
        else:
            plain[key] = None if isinstance(value, float) and math.isnan(value) else value
    return plain
