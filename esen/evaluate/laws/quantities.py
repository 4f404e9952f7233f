"""Energy, forces and stress: a number each, of a unit each, that are compared with each other in no other way."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

UNITS = {"energy": "eV/atom", "forces": "eV/Å", "stress": "eV/Å³"}


@dataclass(frozen=True)
class Quantities:
    """A size, a tolerance or a difference of each quantity.

    Attributes:
        energy: per atom, in eV.
        forces: of a component of a force, in eV/Å.
        stress: of a component, in eV/Å³; infinite as a size or tolerance where there is none.
    """

    energy: float
    forces: float
    stress: float


@dataclass(frozen=True)
class Excess:
    """The quantity that is farthest beyond what it may be.

    Attributes:
        value: the difference.
        allowed: what it was compared with.
        unit: of both.
    """

    value: float
    allowed: float
    unit: str

    @property
    def ratio(self) -> float:
        """Value / allowed; infinite where the value is NaN."""
        return math.inf if math.isnan(self.value) else self.value / self.allowed


def worst(differences: Iterable[Quantities], allowed: Quantities) -> Excess:
    """The largest difference / allowed of all quantities of all differences; a NaN is larger than any.

    Args:
        differences: at least one.
        allowed: greater than zero.

    >>> worst([Quantities(1e-3, 2e-3, 5e-4)], Quantities(1.0, 1.0, 1e-3))
    Excess(value=0.0005, allowed=0.001, unit='eV/Å³')
    """
    return max(
        (
            Excess(getattr(difference, name), getattr(allowed, name), unit)
            for difference in differences
            for name, unit in UNITS.items()
        ),
        key=lambda excess: excess.ratio,
    )
