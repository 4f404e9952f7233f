"""Errors that depend on the volume or the composition: a part of the physics that the potential has not learned.

Such an error hides in a small mean error. The stress error of a potential whose bulk modulus is wrong by a third may be
smaller than that of a noisy potential with the right one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols
from ase.units import GPa
from jaxtyping import Float64

from esen.data.structure import Structure

FEWEST = 10
"""Fewest structures from which a trend is computed."""
LARGEST_P = 1e-3
"""A trend is reported if chance alone would give it with at most this probability, …"""
SMALLEST_SHARE = 0.25
"""… and if it makes up at least this share of the variance of the errors."""


@dataclass(frozen=True)
class VolumeTrend:
    """The linear dependence of the isotropic stress error on ln V, which is an error of the bulk modulus.

    Attributes:
        modulus_error: dΔσ/d ln V with Δσ = Tr(σ − σ_reference)/3, in GPa: the bulk modulus of the potential less that
            of the labels, in the mean over the structures.
        uncertainty: its standard error, in GPa.
        share: share of the variance of Δσ within compositions, R².
        structures: number of structures.
    """

    modulus_error: float
    uncertainty: float
    share: float
    structures: int


@dataclass(frozen=True)
class CompositionTrend:
    """The linear dependence of the energy error per atom on the fractions of the elements.

    Attributes:
        lowest: element whose atoms have the lowest energy error, and the error in meV.
        highest: element whose atoms have the highest, and the error in meV.
        share: share of the variance of the energy errors, R².
        structures: number of structures.
    """

    lowest: tuple[str, float]
    highest: tuple[str, float]
    share: float
    structures: int


def volume_trend(structures: Sequence[Structure], errors: Float64[np.ndarray, " B"]) -> VolumeTrend | None:
    """Return the dependence of the isotropic stress errors on the volume; None if there is none.

    The errors are fitted by a_c + b ln(V/N), with one constant a_c for each composition.

    Args:
        structures: structures of any kind.
        errors: Δσ of each in meV/Å³; NaN if it is not known.
    """
    known = [i for i, s in enumerate(structures) if s.has_volume and len(s) and np.isfinite(errors[i])]
    groups: dict[tuple[tuple[int, float], ...], list[int]] = {}
    for i in known:
        groups.setdefault(_composition(structures[i]), []).append(i)
    groups = {composition: members for composition, members in groups.items() if len(members) > 1}
    count = sum(map(len, groups.values()))
    if count < FEWEST:
        return None
    logs = [np.log([structures[i].volume / len(structures[i]) for i in group]) for group in groups.values()]
    x = np.concatenate([part - part.mean() for part in logs])
    y = np.concatenate([errors[group] - errors[group].mean() for group in groups.values()])
    freedoms = count - len(groups) - 1
    if freedoms < 1 or np.sqrt((x**2).mean()) < 1e-4 or not y.any():
        return None
    slope = float(x @ y / (x @ x))
    left = float(((y - slope * x) ** 2).sum())
    share = 1 - left / float(y @ y)
    if not _is_significant(share, 1, freedoms):
        return None
    unit = 1e-3 / GPa  # meV/Å³ → GPa
    return VolumeTrend(unit * slope, unit * float(np.sqrt(left / freedoms / (x @ x))), share, count)


def composition_trend(
    structures: Sequence[Structure], errors: Float64[np.ndarray, " B"]
) -> CompositionTrend | None:
    """Return the dependence of the energy errors on the composition; None if there is none.

    The errors are fitted by Σ_e c_e x_e with the fraction x_e of each element.

    Args:
        structures: structures of any kind.
        errors: energy error of each in meV/atom; NaN if it is not known.
    """
    known = [i for i, s in enumerate(structures) if len(s) and np.isfinite(errors[i])]
    elements = np.unique(np.concatenate([structures[i].numbers for i in known])) if known else np.zeros(0)
    if len(known) < max(FEWEST, 3 * len(elements)) or len(elements) < 2:
        return None
    fractions = np.array([[(structures[i].numbers == z).mean() for z in elements] for i in known])
    y = errors[known]
    fit, _, rank, _ = np.linalg.lstsq(fractions, y, rcond=1e-9)
    spread = float(((y - y.mean()) ** 2).sum())
    if rank < 2 or spread == 0:
        return None
    share = 1 - float(((y - fractions @ fit) ** 2).sum()) / spread
    if not _is_significant(share, int(rank) - 1, len(known) - int(rank)):
        return None
    low, high = int(np.argmin(fit)), int(np.argmax(fit))
    named = [(chemical_symbols[int(elements[i])], float(fit[i])) for i in (low, high)]
    return CompositionTrend(named[0], named[1], share, len(known))


def _is_significant(share: float, terms: int, freedoms: int) -> bool:
    """Return whether a fit of so many terms explains a large share, and more than chance would (F test)."""
    from scipy.stats import f

    if share < SMALLEST_SHARE or freedoms < 1:
        return False
    ratio = share / terms / max((1 - share) / freedoms, 1e-300)
    return bool(f.sf(ratio, terms, freedoms) < LARGEST_P)


def _composition(structure: Structure) -> tuple[tuple[int, float], ...]:
    numbers, counts = np.unique(structure.numbers, return_counts=True)
    return tuple((int(z), round(float(n), 6)) for z, n in zip(numbers, counts / len(structure), strict=True))
