"""Forces are minus the gradient of the energy, and the stress is its derivative with respect to strain."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from esen.data.structure import Structure
from esen.evaluate.laws.differences import Derivative, derivative
from esen.evaluate.laws.law import Finding, Outcome, judged, not_applicable
from esen.evaluate.laws.moves import moved, named, strained
from esen.evaluate.laws.quantities import Deviation
from esen.evaluate.laws.subject import RELATIVE, Case

SAFETY = 10.0
"""The tolerance, in units of the estimated error of the finite difference."""
TOO_NOISY = 0.1
"""A derivative whose estimated error is a larger fraction of the force is not judged."""
_DISPLACEMENT = 0.05
_VANISHING = 1e-3


def forces(case: Case) -> Outcome:
    """F · d = −dE/dh at r + h d, for directions d that move all atoms, and for single atoms.

    Where all forces vanish by symmetry, the atoms are displaced first.
    """
    rng = case.rng("forces")
    if float(case.prediction.forces.abs().max()) <= 10 * case.tolerances.forces:
        displacement = _DISPLACEMENT * rng.normal(size=case.structure.positions.shape)
        displaced = named(moved(case.structure, displacement), "displaced")
        (prediction,) = case.predict(displaced)
        case = replace(case, structure=replace(displaced, source=case.name), prediction=prediction)
    atoms = len(case.structure)
    directions = [rng.normal(size=(atoms, 3)) for _ in range(2)]
    for atom in rng.choice(atoms, size=min(2, atoms), replace=False):
        directions.append(np.outer(np.eye(atoms)[atom], rng.normal(size=3)))
    checked = []
    for direction in directions:
        unit = direction / np.linalg.norm(direction)
        work = float((case.prediction.forces.numpy() * unit).sum())
        checked.append((-work, _slope(case, moved, unit, "displaced")))
    return Outcome.of(_compare(case, "forces", checked, "eV/Å", 1.0))


def stress(case: Case) -> Outcome:
    """V σ : ε = dE/dh at r (1 + h ε), for random symmetric strains and a change of volume; and σ = σᵀ."""
    if not case.structure.has_volume:
        return Outcome.of(not_applicable("stress", case.name, "without a volume of the cell there is none"))
    if not case.has_stress:
        return Outcome.of(not_applicable("stress", case.name, "the potential gives no stress"))
    rng, sigma = case.rng("stress"), case.prediction.stress[0].numpy()
    checked = []
    for strain in [np.eye(3), *(rng.normal(size=(3, 3)) for _ in range(2))]:
        unit = (strain + strain.T) / np.linalg.norm(strain + strain.T)
        work = float((sigma * unit).sum()) * case.structure.volume
        checked.append((work, _slope(case, strained, unit, "strained")))
    compared = _compare(case, "stress", checked, "eV/Å³", case.structure.volume)
    # A symmetric strain does no work against an antisymmetric stress, and the energy does not depend on orientation.
    asymmetry = Deviation(float(np.abs(sigma - sigma.T).max() / 2), case.tolerances.stress, "eV/Å³")
    symmetry = judged("stress", case.name, asymmetry, "how far from symmetric it is")
    return Outcome.of(max(compared, symmetry, key=lambda f: f.ratio if f.verdict == "fail" else 0.0))


def _slope(
    case: Case,
    move: Callable[[Structure, np.ndarray], Structure],
    direction: Float64[np.ndarray, "K 3"],
    word: str,
) -> Derivative:
    """Return dE/dh of the structure moved by h in a direction."""

    def energies(places: Sequence[float]) -> Float64[np.ndarray, "K 1"]:
        predictions = case.predict(*(named(move(case.structure, h * direction), word) for h in places))
        return np.array([[float(p.energy)] for p in predictions])

    return derivative(energies, case.noise.energy)


def _compare(
    case: Case, law: str, checked: Sequence[tuple[float, Derivative]], unit: str, divisor: float
) -> Finding:
    """Judge the worst of several derivatives, each by the tolerance that its own error allows."""
    deviations, measurable = [], False
    for said, slope in checked:
        found = float(slope.value[0])
        tolerance = max(RELATIVE * case.size, SAFETY * slope.error)
        measurable = measurable or tolerance < TOO_NOISY * max(abs(said), abs(found))
        deviations.append(Deviation(abs(said - found), tolerance, unit))
    worst = max(deviations, key=lambda d: (d.ratio, d.value, d.tolerance))
    if worst.ratio <= 1 and not measurable:
        why = f"the energy is too noisy ({case.noise.energy:.1e} eV) for finite differences"
        if max(max(abs(said), abs(float(slope.value[0]))) for said, slope in checked) < _VANISHING:
            why = f"all {law if law == 'forces' else 'stresses'} vanish here, so that there is nothing to compare"
        return not_applicable(law, case.name, why)
    scaled = Deviation(worst.value / divisor, worst.tolerance / divisor, unit)
    return judged(law, case.name, scaled, f"{len(checked)} directions, finite differences")
