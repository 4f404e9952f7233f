"""Correlation of two quantities over potentials, as in Figure 1 of the paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True, eq=False)
class Correlation:
    """Correlation of two quantities over the potentials of a system.

    Attributes:
        system: Name of the system; empty if there is only one.
        x: Name, symbol and unit of the first quantity.
        y: Those of the second.
        points: One per potential that has both.
        everything: Coefficients of all points.
        passing: Coefficients of those that conserve energy; None if none was tested.
    """

    system: str
    x: tuple[str, str, str]
    y: tuple[str, str, str]
    points: Sequence[Point]
    everything: Coefficients
    passing: Coefficients | None

    def rows(self) -> list[dict[str, str | int]]:
        """Return the rows of a table: all potentials, and those that conserve energy."""
        found = {"all potentials": self.everything}
        if self.passing is not None:
            found["energy conserved"] = self.passing
        return [
            {
                "over": name,
                "n": coefficients.n,
                "Pearson": text_of(coefficients.pearson, coefficients.n),
                "Spearman": text_of(coefficients.spearman, coefficients.n),
            }
            for name, coefficients in found.items()
        ]

    def json(self) -> dict[str, Any]:
        """Return everything as plain data."""
        named = ("name", "symbol", "unit")
        return {
            "system": self.system,
            "x": dict(zip(named, self.x, strict=True)),
            "y": dict(zip(named, self.y, strict=True)),
            "how": HOW,
            "all": _json(self.everything),
            "energy_conserved": None if self.passing is None else _json(self.passing),
            "points": [vars(point) for point in self.points],
        }


def correlation_of(
    system: str,
    names: tuple[tuple[str, str, str], tuple[str, str, str]],
    values: tuple[Mapping[tuple[str, int | None], float], Mapping[tuple[str, int | None], float]],
    conserved: Mapping[tuple[str, int | None], bool],
) -> Correlation:
    """Return the correlation of two quantities of the potentials of a system.

    Args:
        system: Name of the system.
        names: Name, symbol and unit of each quantity.
        values: Of each quantity, by variant and seed.
        conserved: Whether a potential conserves energy, by variant and seed.
    """
    first, second = values
    points = [Point(*key, first[key], second[key], conserved.get(key)) for key in first if key in second]
    tested = any(point.conserved is not None for point in points)
    passing = [point for point in points if point.conserved]
    return Correlation(
        system=system,
        x=names[0],
        y=names[1],
        points=points,
        everything=Coefficients.of(points),
        passing=Coefficients.of(passing) if tested else None,
    )


def text_of(one: Coefficient, n: int) -> str:
    """Return a coefficient with its interval, or why it has none.

    Args:
        one: The coefficient.
        n: Number of points.
    """
    if one.value is None:
        return "a quantity is constant" if n >= FEWEST else f"too few points ({n})"
    if one.low is None or one.high is None:
        return f"{one.value:+.2f} (too few points for an interval)"
    return f"{one.value:+.2f} [{one.low:+.2f}, {one.high:+.2f}]"


def _json(found: Coefficients) -> dict[str, Any]:
    return {"n": found.n, "pearson": vars(found.pearson), "spearman": vars(found.spearman)}
