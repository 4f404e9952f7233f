"""Energy, forces and stress: sizes, tolerances and deviations, each quantity in its own unit."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

UNITS = {"energy": "eV/atom", "forces": "eV/Å", "stress": "eV/Å³"}


@dataclass(frozen=True)
class Quantities:
    """One number per quantity: its size, its tolerance or a difference.

    Attributes:
        energy: Energy per atom, in eV.
        forces: Component of a force, in eV/Å.
        stress: Component of the stress, in eV/Å³; infinite as a size or tolerance if there is no stress.
    """

    energy: float
    forces: float
    stress: float


@dataclass(frozen=True)
class Noise:
    """Standard deviations of the numerical noise of a prediction.

    Attributes:
        energy: Noise of the total energy, in eV.
        forces: Noise of a component of a force, in eV/Å.
        stress: Noise of a component of the stress, in eV/Å³; 0 if there is no stress.
    """

    energy: float = 0.0
    forces: float = 0.0
    stress: float = 0.0


@dataclass(frozen=True)
class Deviation:
    """A difference that should vanish, with its tolerance.

    Attributes:
        value: The difference.
        tolerance: Largest value allowed.
        unit: Unit of both.
    """

    value: float
    tolerance: float
    unit: str

    @property
    def ratio(self) -> float:
        """The value in units of the tolerance; infinite if the value is NaN."""
        return math.inf if math.isnan(self.value) else self.value / self.tolerance


def worst(differences: Iterable[Quantities], allowed: Quantities) -> Deviation:
    """Return the quantity with the largest ratio of difference to tolerance; NaN is larger than any number.

    Args:
        differences: At least one.
        allowed: Tolerances, greater than zero.

    >>> worst([Quantities(1e-3, 2e-3, 5e-4)], Quantities(1.0, 1.0, 1e-3))
    Deviation(value=0.0005, tolerance=0.001, unit='eV/Å³')
    """
    return max(
        (
            Deviation(getattr(difference, name), getattr(allowed, name), unit)
            for difference in differences
            for name, unit in UNITS.items()
        ),
        key=lambda deviation: deviation.ratio,
    )
