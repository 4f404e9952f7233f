"""Curves of two atoms, from the repulsive wall to distances at which they no longer interact."""

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
from ase.data import covalent_radii, vdw_radii
from jaxtyping import Float64

from esen.evaluate.laws.differences import derivative
from esen.evaluate.laws.law import Outcome, Scan, information, judged
from esen.evaluate.laws.moves import OBLIQUE, pair_name, two_atoms
from esen.evaluate.laws.quantities import Deviation
from esen.evaluate.laws.subject import RELATIVE, Case

POINTS = 119
FARTHEST = 6.0
MOST = 6
"""Largest number of pairs of elements; pairs of one element come first."""
CHECKED = 5
"""Distances of a curve at which the force is compared with the derivative of the energy."""
_STEPS = (1e-3, 8e-3)


def diatomics(case: Case) -> Outcome:
    """Test F = −dE/dr along the curve of each pair of elements, once per pair, and report how rough the curves are.

    The 119 distances are evenly spaced in their logarithm, from 0.9 covalent radii to 3.1 van der Waals radii or 6 Å,
    with radii averaged over both atoms, as in the diatomics benchmark of MLIP Arena.
    """
    elements = np.unique(case.structure.numbers).tolist()
    new = [pair for pair in combinations_with_replacement(elements, 2) if case.new_among(pair)]
    pairs = sorted(new, key=lambda pair: pair[0] != pair[1])[:MOST]
    if not pairs:
        return Outcome([], [])
    scans = [curve(case, a, b) for a, b in pairs]
    found = [(_inconsistency(case, a, b, scan), scan) for (a, b), scan in zip(pairs, scans, strict=True)]
    worst, where = max(found, key=lambda pair: pair[0].ratio)
    says = f"−dE/dr against F at {CHECKED} distances of {len(pairs)} curves, worst {where.about}"
    findings = [judged("diatomic forces", case.name, worst, says)]
    for scan in scans:
        measures = ", ".join(f"{name} {value:.3g}" for name, value in scan.measures.items())
        findings.append(information("diatomic curve", scan.about, scan.measures["tortuosity"], "", measures))
    return Outcome(findings, scans)


def curve(case: Case, a: int, b: int) -> Scan:
    """Compute energy and force of two atoms at all distances, and the measures of the curve."""
    radii = vdw_radii[[a, b]].mean()
    farthest = min(3.1 * float(radii), FARTHEST) if np.isfinite(radii) else FARTHEST
    nearest = 0.9 * float(covalent_radii[[a, b]].mean())
    distances = np.geomspace(nearest, farthest, POINTS)
    energy, force = _along(case, a, b, distances)
    return Scan("diatomic", pair_name(a, b), distances, energy, force, measures=roughness(energy, force))


def roughness(energy: Float64[np.ndarray, " K"], force: Float64[np.ndarray, " K"]) -> dict[str, float]:
    """Measure how much a curve differs from one wall and one well.

    Returns:
        `tortuosity`: Σ|ΔE| / (|E₀ − E_min| + |E_end − E_min|), which is 1 for one well. `energy flips`: the number of
        changes of the sign of ΔE, without |ΔE| < 1 meV. `energy jump`: the sum of |ΔE| on both sides of each flip, in
        eV. `force flips`: the number of changes of the sign of F, without |F| < 0.01 eV/Å. `force variation`: Σ|ΔF|,
        in eV/Å.
    """
    steps = np.diff(energy)
    there_and_back = abs(energy[0] - energy.min()) + abs(energy[-1] - energy.min())
    kept = steps[np.abs(steps) >= 1e-3]
    flips = _flips(kept)
    return {
        "tortuosity": float(np.abs(steps).sum() / there_and_back) if there_and_back > 0 else 1.0,
        "energy flips": float(len(flips)),
        "energy jump": float(np.abs(kept[flips]).sum() + np.abs(kept[flips + 1]).sum()),
        "force flips": float(len(_flips(force[np.abs(force) >= 1e-2]))),
        "force variation": float(np.abs(np.diff(force)).sum()),
    }


def _flips(values: np.ndarray) -> np.ndarray:
    """Return the indices of the values after which the sign changes."""
    return np.flatnonzero(np.sign(values[1:]) != np.sign(values[:-1]))


def _along(
    case: Case, a: int, b: int, distances: Sequence[float] | Float64[np.ndarray, " K"]
) -> tuple[Float64[np.ndarray, " K"], Float64[np.ndarray, " K"]]:
    """Return energies, and the force on the second atom away from the first."""
    name = pair_name(a, b)
    predictions = case.predict(*(two_atoms([a, b], r, f"{name} at {r:.4g} Å") for r in distances))
    energy = np.array([float(p.energy) for p in predictions])
    return energy, np.array([float(p.forces[1].numpy() @ OBLIQUE) for p in predictions])


def _inconsistency(case: Case, a: int, b: int, scan: Scan) -> Deviation:
    """Return |F + dE/dr| at the distance where it is largest in units of its tolerance."""
    found = []
    for place in np.linspace(0, POINTS - 1, CHECKED).round().astype(int):
        r, energy, force = float(scan.distance[place]), float(scan.energy[place]), float(scan.force[place])

        def energies(steps: Sequence[float], r: float = r) -> np.ndarray:
            return _along(case, a, b, [r + h for h in steps])[0][:, None]

        slope = derivative(energies, max(case.noise.energy, 1e-15 * abs(energy)), _STEPS)
        size = max(case.size, abs(force), abs(energy))
        tolerance = max(RELATIVE * size, 10 * slope.error)
        found.append(Deviation(abs(force + float(slope.value[0])), tolerance, "eV/Å"))
    return max(found, key=lambda d: d.ratio)
