"""Two atoms from the repulsive wall to where they no longer see each other."""

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
from ase.data import chemical_symbols, covalent_radii, vdw_radii
from jaxtyping import Float64

from esen.evaluate.laws.differences import derivative
from esen.evaluate.laws.law import Outcome, Scan, information, judged
from esen.evaluate.laws.moves import atoms_in_box
from esen.evaluate.laws.subject import RELATIVE, Case

POINTS = 119
FARTHEST = 6.0
MOST = 6
"""Pairs of elements; those of one element first."""
CHECKED = 5
"""Distances of a curve at which the force is compared with the derivative of the energy."""
_STEPS = (1e-3, 8e-3)
_DIRECTION = np.array([0.48, 0.6, 0.64])


def diatomics(case: Case) -> Outcome:
    """F = −dE/dr along the curves of pairs of the structure's elements, each pair once, and how rough they are.

    119 distances, evenly spaced in their logarithm, from 0.9 covalent radii to 3.1 van der Waals radii or 6 Å, the
    radii being means of both atoms: as in the diatomics benchmark of MLIP Arena.
    """
    elements = np.unique(case.structure.numbers).tolist()
    new = [pair for pair in combinations_with_replacement(elements, 2) if case.new_among(pair)]
    pairs = sorted(new, key=lambda pair: pair[0] != pair[1])[:MOST]
    if not pairs:
        return Outcome([], [])
    found, scans = [], []
    worst = (-1.0, 0.0, 0.0, "")
    for a, b in pairs:
        scan = curve(case, a, b)
        scans.append(scan)
        measures = ", ".join(f"{name} {value:.3g}" for name, value in scan.measures.items())
        found.append(information("diatomic curve", scan.about, scan.measures["tortuosity"], "", measures))
        worst = max(worst, (*_inconsistency(case, a, b, scan), scan.about))
    _, value, tolerance, name = worst
    says = f"−dE/dr against F at {CHECKED} distances of {len(pairs)} curves, worst {name}"
    return Outcome([judged("diatomic forces", case.name, value, tolerance, "eV/Å", says), *found], scans)


def curve(case: Case, a: int, b: int) -> Scan:
    """Energy and force of two atoms, and the measures of their curve."""
    radii = vdw_radii[[a, b]].mean()
    farthest = min(3.1 * float(radii), FARTHEST) if np.isfinite(radii) else FARTHEST
    nearest = 0.9 * float(covalent_radii[[a, b]].mean())
    distances = np.geomspace(nearest, farthest, POINTS)
    energy, force = _along(case, a, b, distances)
    name = f"{chemical_symbols[a]}–{chemical_symbols[b]}"
    return Scan("diatomic", name, distances, energy, force, measures=roughness(energy, force))


def roughness(energy: Float64[np.ndarray, " K"], force: Float64[np.ndarray, " K"]) -> dict[str, float]:
    """How far a curve is from one wall and one well.

    tortuosity: Σ|ΔE| / (|E₀ − E_min| + |E_end − E_min|), 1 for one well. energy flips: changes of the sign of ΔE, of
    which |ΔE| < 1 meV are left out; energy jump: the sum of |ΔE| on both sides of each, in eV. force flips: changes of
    the sign of F, |F| < 0.01 eV/Å left out. force variation: Σ|ΔF|, in eV/Å.
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
    """After which values the sign changes."""
    return np.flatnonzero(np.sign(values[1:]) != np.sign(values[:-1]))


def _along(
    case: Case, a: int, b: int, distances: Sequence[float] | Float64[np.ndarray, " K"]
) -> tuple[Float64[np.ndarray, " K"], Float64[np.ndarray, " K"]]:
    """Energies, and the force on the second atom away from the first."""
    names = f"{chemical_symbols[a]}–{chemical_symbols[b]}"
    predictions = case.predict(
        *(atoms_in_box([a, b], np.outer([0.0, r], _DIRECTION), f"{names} at {r:.4g} Å") for r in distances)
    )
    energy = np.array([float(p.energy) for p in predictions])
    return energy, np.array([float(p.forces[1].numpy() @ _DIRECTION) for p in predictions])


def _inconsistency(case: Case, a: int, b: int, scan: Scan) -> tuple[float, float, float]:
    """|F + dE/dr| where it is worst against its tolerance: ratio, value and tolerance."""
    worst = (-1.0, 0.0, 0.0)
    for place in np.linspace(0, POINTS - 1, CHECKED).round().astype(int):
        r, force = float(scan.distance[place]), float(scan.force[place])
        slope = derivative(
            lambda steps, r=r: _along(case, a, b, [r + h for h in steps])[0][:, None],  # type: ignore[misc]  # mypy finds no type for a lambda with a default
            max(case.noise.energy, 1e-15 * abs(float(scan.energy[place]))),
            _STEPS,
        )
        size = max(case.size, abs(force), abs(float(scan.energy[place])))
        tolerance = max(RELATIVE * size, 10 * slope.error)
        value = abs(force + float(slope.value[0]))
        worst = max(worst, (value / tolerance, value, tolerance))
    return worst
