"""What a law found."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

Verdict = Literal["pass", "fail", "information", "not applicable"]


@dataclass(frozen=True)
class Finding:
    """One law on one structure.

    Attributes:
        law: its name.
        about: the structure or pair of elements it was measured on.
        says: what was done, and what to know of the value.
        value: how far the potential is from the law; NaN where it could not be measured.
        tolerance: how far it may be; NaN where there is no limit.
        unit: of both.
        verdict: `information` has no limit; `not applicable` says why in `says`.
    """

    law: str
    about: str
    says: str
    value: float
    tolerance: float
    unit: str
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        """As plain values; null for NaN and infinity."""
        plain = {k: v for k, v in vars(self).items() if k not in ("value", "tolerance")}
        return plain | {"value": finite(self.value), "tolerance": finite(self.tolerance)}


def judged(law: str, about: str, value: float, tolerance: float, unit: str, says: str) -> Finding:
    """A law holds where the value is within the tolerance; NaN is not."""
    return Finding(law, about, says, value, tolerance, unit, "pass" if value <= tolerance else "fail")


def information(law: str, about: str, value: float, unit: str, says: str) -> Finding:
    """Worth knowing, and no law."""
    return Finding(law, about, says, value, math.nan, unit, "information")


def not_applicable(law: str, about: str, why: str) -> Finding:
    """The law says nothing of this structure, or could not be measured."""
    return Finding(law, about, why, math.nan, math.nan, "", "not applicable")


def broken(law: str, about: str, why: str) -> Finding:
    """The potential gave NaN, or refused what it should compute."""
    return Finding(law, about, why, math.nan, math.nan, "", "fail")


def finite(value: float) -> float | None:
    """JSON knows neither NaN nor infinity."""
    return value if math.isfinite(value) else None


@dataclass(frozen=True, eq=False)
class Scan:
    """Energy and force along a path, for a plot.

    Attributes:
        kind: `pair`, `in the structure` or `diatomic`.
        about: what was moved.
        distance: between the two atoms, in Å.
        energy: in eV.
        force: on the moved atom along the path, in eV/Å.
        mark: a distance to mark: the cutoff, or where it jumps; NaN: none.
        measures: what is told of the curve, by name.
    """

    kind: str
    about: str
    distance: Float64[np.ndarray, " K"]
    energy: Float64[np.ndarray, " K"]
    force: Float64[np.ndarray, " K"]
    mark: float = math.nan
    measures: dict[str, float] = field(default_factory=dict)

    @property
    def slope(self) -> Float64[np.ndarray, " K"]:
        """dF/dr by differences of the force, in eV/Å²."""
        return np.asarray(np.gradient(self.force, self.distance, edge_order=2))

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "kind": self.kind,
            "about": self.about,
            "distance": self.distance.tolist(),
            "energy": self.energy.tolist(),
            "force": self.force.tolist(),
            "slope": self.slope.tolist(),
            "mark": finite(self.mark),
            "measures": {name: finite(value) for name, value in self.measures.items()},
        }


@dataclass(frozen=True, eq=False)
class Outcome:
    """Findings of one law, and the curves that it drew."""

    findings: list[Finding]
    scans: list[Scan]

    @classmethod
    def of(cls, *findings: Finding) -> "Outcome":
        """Findings alone."""
        return cls(list(findings), [])
