"""Correlation of two quantities over potentials, as in Figure 1 of the paper."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from esen.study.compare.quantities import Heading
from esen.study.compare.statistics import FEWEST, Coefficient, pearson, spearman

HOW = (
    "one point per potential (variant and seed); Pearson's coefficient with the 95 % interval by Fisher's z, Spearman's"
    " with that of Bonett and Wright (2000); seeds of one variant count as independent"
)


@dataclass(frozen=True)
class Point:
    """A potential in the plane of two quantities.

    Attributes:
        variant: Its variant.
        seed: Its seed; None if it has none.
        x: First quantity.
        y: Second quantity.
        conserved: Whether all trajectories of `md-drift` have the verdict conserved; None if it was not tested.
    """

    variant: str
    seed: int | None
    x: float
    y: float
    conserved: bool | None


@dataclass(frozen=True)
class Coefficients:
    """Both coefficients over some points.

    Attributes:
        n: Number of points.
        pearson: Linear correlation.
        spearman: Correlation of the ranks.
    """

    n: int
    pearson: Coefficient
    spearman: Coefficient

    @classmethod
    def of(cls, points: Sequence[Point]) -> "Coefficients":
        """Compute both."""
        x, y = [point.x for point in points], [point.y for point in points]
        return cls(len(points), pearson(x, y), spearman(x, y))

    def texts(self) -> tuple[str, str]:
        """Return both coefficients with their intervals, or why they have none."""
        return _text(self.pearson, self.n), _text(self.spearman, self.n)


@dataclass(frozen=True, eq=False)
class Correlation:
    """Correlation of two quantities over the potentials of a system.

    Attributes:
        system: Name of the system; empty if there is only one.
        x: First quantity.
        y: Second quantity.
        points: One per potential that has both.
    """

    system: str
    x: Heading
    y: Heading
    points: Sequence[Point]

    @cached_property
    def everything(self) -> Coefficients:
        """Coefficients of all points."""
        return Coefficients.of(self.points)

    @cached_property
    def passing(self) -> Coefficients | None:
        """Coefficients of those that conserve energy; None if none was tested."""
        if all(point.conserved is None for point in self.points):
            return None
        return Coefficients.of([point for point in self.points if point.conserved])

    def lines(self) -> dict[str, Coefficients]:
        """Return the coefficients by what they are over."""
        found = {"all potentials": self.everything}
        return found if self.passing is None else found | {"energy conserved": self.passing}

    def json(self) -> dict[str, Any]:
        """Return everything as plain data."""
        axes = {
            axis: {"name": one.name, "symbol": one.symbol, "unit": one.unit}
            for axis, one in (("x", self.x), ("y", self.y))
        }
        return {
            "system": self.system,
            **axes,
            "how": HOW,
            "all": asdict(self.everything),
            "energy_conserved": None if self.passing is None else asdict(self.passing),
            "points": [asdict(point) for point in self.points],
        }


def _text(one: Coefficient, n: int) -> str:
    if one.value is None:
        return "a quantity is constant" if n >= FEWEST else f"too few points ({n})"
    if one.low is None or one.high is None:
        return f"{one.value:+.2f} (too few points for an interval)"
    return f"{one.value:+.2f} [{one.low:+.2f}, {one.high:+.2f}]"
