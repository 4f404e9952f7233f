"""Forces are minus the gradient of the energy, and the stress is its derivative by the strain."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float64

from esen.data.structure import Structure
from esen.evaluate.laws.differences import Derivative, derivative
from esen.evaluate.laws.law import Finding, Outcome, judged, not_applicable
from esen.evaluate.laws.moves import moved, named, strained
from esen.evaluate.laws.subject import RELATIVE, Case

SAFETY = 10.0
"""The tolerance is so many times the error that the finite difference is estimated to have."""
TOO_NOISY = 0.1
"""Where the estimated error is more than this part of the force, nothing can be said."""


def forces(case: Case) -> Outcome:
    """F · d = −dE/dh of r + h d, for directions d that move all atoms, and for single atoms."""
    rng = case.rng("forces")
    atoms = len(case.structure)
    directions = [rng.normal(size=(atoms, 3)) for _ in range(2)]
    for atom in rng.choice(atoms, size=min(2, atoms), replace=False):
        directions.append(np.outer(np.eye(atoms)[atom], rng.normal(size=3)))
    checked = []
    for direction in directions:
        d = direction / np.linalg.norm(direction)
        slope = _slope(case, lambda h, d=d: named(moved(case.structure, h * d), "displaced"))  # type: ignore[misc]  # mypy finds no type for a lambda with a default
        checked.append((float((case.prediction.forces.numpy() * d).sum()), slope))
    return Outcome.of(_compare(case, "forces", [(-f, s) for f, s in checked], "eV/Å", 1.0))


def stress(case: Case) -> Outcome:
    """V σ : ε = dE/dh of r (1 + h ε), for random symmetric strains and a change of volume; and σ = σᵀ."""
    if not case.structure.pbc.all():
        return Outcome.of(not_applicable("stress", case.name, "not periodic in three directions"))
    if not case.has_stress:
        return Outcome.of(not_applicable("stress", case.name, "the potential gives no stress"))
    rng = case.rng("stress")
    strains = [np.eye(3), *(rng.normal(size=(3, 3)) for _ in range(2))]
    checked = []
    for strain in strains:
        unit = (strain + strain.T) / np.linalg.norm(strain + strain.T)
        slope = _slope(case, lambda h, e=unit: named(strained(case.structure, h * e), "strained"))  # type: ignore[misc]  # mypy finds no type for a lambda with a default
        work = float((case.prediction.stress[0].numpy() * unit).sum()) * case.structure.volume
        checked.append((work, slope))
    compared = _compare(case, "stress", checked, "eV/Å³", case.structure.volume)
    return Outcome.of(max(compared, _symmetry(case), key=_badness))


def _symmetry(case: Case) -> Finding:
    """σ = σᵀ, which symmetric strains say nothing of: the energy does not change as a crystal is turned."""
    sigma = case.prediction.stress[0].numpy()
    value = float(np.abs(sigma - sigma.T).max() / 2)
    return judged("stress", case.name, value, case.tolerances.stress, "eV/Å³", "how far from symmetric it is")


def _badness(finding: Finding) -> float:
    """Value / tolerance where the law is broken; else the first of two says more."""
    return finding.value / finding.tolerance if finding.verdict == "fail" else 0.0


def _slope(case: Case, path: Callable[[float], Structure]) -> Derivative:
    def energies(places: Sequence[float]) -> Float64[np.ndarray, "K 1"]:
        predictions = case.predict(*(path(h) for h in places))
        return np.array([[float(p.energy)] for p in predictions])

    return derivative(energies, case.noise.energy)


def _compare(
    case: Case, law: str, checked: Sequence[tuple[float, Derivative]], unit: str, divisor: float
) -> Finding:
    """The worst of several derivatives, each relative to the tolerance that its own error allows."""
    worst = (-1.0, 0.0, 0.0)
    measurable = False
    for said, slope in checked:
        found = float(slope.value[0])
        tolerance = max(RELATIVE * case.size, SAFETY * slope.error)
        measurable = measurable or tolerance < TOO_NOISY * max(abs(said), abs(found), 1e-3)
        value = abs(said - found)
        worst = max(worst, (value / tolerance, value / divisor, tolerance / divisor))
    ratio, value, tolerance = worst
    if ratio <= 1 and not measurable:
        why = f"the energy is too noisy ({case.noise.energy:.1e} eV) for finite differences"
        return not_applicable(law, case.name, why)
    return judged(law, case.name, value, tolerance, unit, f"{len(checked)} directions, finite differences")
