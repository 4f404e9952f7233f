"""The result of a law: findings with a verdict, and the curves along which it was measured."""

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float64

from esen.evaluate.laws.quantities import Deviation

Verdict = Literal["pass", "fail", "information", "not applicable"]


@dataclass(frozen=True)
class Finding:
    """The result of one law on one structure.

    Attributes:
        law: Name of the law, which is also that of its row in the table.
        about: Structure, or pair of elements, that was measured.
        says: How it was measured, or why it was not.
        value: Deviation of the potential from the law; NaN if it could not be measured.
        tolerance: Largest deviation allowed; NaN if there is no limit.
        unit: Unit of `value` and `tolerance`.
        verdict: `information` has no limit; `not applicable` gives the reason in `says`.
    """

    law: str
    about: str
    says: str
    value: float
    tolerance: float
    unit: str
    verdict: Verdict

    @property
    def ratio(self) -> float:
        """The value in units of the tolerance; infinite if the value is NaN."""
        if math.isnan(self.value):
            return math.inf
        return self.value / (self.tolerance if self.tolerance > 0 else 1e-300)


def judged(law: str, about: str, deviation: Deviation, says: str) -> Finding:
    """Return a finding that passes if the deviation is within its tolerance. NaN fails."""
    verdict: Verdict = "pass" if deviation.value <= deviation.tolerance else "fail"
    return Finding(law, about, says, deviation.value, deviation.tolerance, deviation.unit, verdict)


def information(law: str, about: str, value: float, unit: str, says: str) -> Finding:
    """Return a finding without a limit, which no law forbids."""
    return Finding(law, about, says, value, math.nan, unit, "information")


def not_applicable(law: str, about: str, why: str) -> Finding:
    """Return the finding that the law does not apply to the structure or could not be measured."""
    return Finding(law, about, why, math.nan, math.nan, "", "not applicable")


def broken(law: str, about: str, why: str) -> Finding:
    """Return the finding that the potential gave NaN or refused an input that it should compute."""
    return Finding(law, about, why, math.nan, math.nan, "", "fail")


@dataclass(frozen=True, eq=False)
class Scan:
    """Energy and force along a path, for a plot.

    Attributes:
        kind: `pair`, `in the structure` or `diatomic`.
        about: What was moved.
        distance: Distance between the two atoms, in Å.
        energy: Total energy, in eV.
        force: Force on the moved atom along the path, in eV/Å.
        mark: Distance to mark in the plot, the cutoff or the place of a jump, in Å; NaN for no mark.
        measures: Numbers that describe the curve, by name.
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
        """dF/dr by finite differences of the force, in eV/Å²."""
        return np.asarray(np.gradient(self.force, self.distance, edge_order=2))


@dataclass(frozen=True, eq=False)
class Outcome:
    """The findings of one law on one structure, and the curves that it measured."""

    findings: list[Finding]
    scans: list[Scan]

    @classmethod
    def of(cls, *findings: Finding) -> "Outcome":
        """Return an outcome without curves."""
        return cls(list(findings), [])
