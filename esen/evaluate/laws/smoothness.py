"""Energy, forces and their slope are continuous as an atom comes and goes."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from jaxtyping import Float64

from esen.data.structure import Structure
from esen.evaluate.laws.jumps import Jump, Of, largest_jump
from esen.evaluate.laws.law import Finding, Outcome, Scan, judged, not_applicable
from esen.evaluate.laws.moves import atoms_in_box, moved, named, pairs_within
from esen.evaluate.laws.subject import Case

PAIR_SPACING, CRYSTAL_SPACING = 0.02, 0.01
"""Å, of the first look."""
FARTHEST = 8.0
"""Å, up to which a pair is pulled apart; beyond the cutoff where that is larger."""
WINDOW, WINDOW_POINTS = 0.15, 120
"""Å on either side of the cutoff or a jump that the plot shows, and how finely."""
PULL = 0.3
"""Å, by which an atom of a structure is displaced either way."""
_LIMITS = {"energy": 1e-7, "force": 1e-6, "slope": 1e-4}
"""In eV, eV/Å, eV/Å². A potential without jumps stays below them at the finest spacing, one with jumps above."""
_UNITS = {"energy": "eV", "force": "eV/Å", "slope": "eV/Å²"}


Predict = Callable[[Float64[np.ndarray, " K"]], tuple[np.ndarray, np.ndarray]]
"""Energies (K, 1, 1) and forces (K, N, 3) at K distances."""


@dataclass(frozen=True, eq=False)
class Line:
    """Structures along a line.

    Attributes:
        kind: `pair` or `in the structure`.
        about: what is moved.
        at: the structure for a distance of the two atoms in Å.
        atom: that moves.
        direction: in which it moves.
        distances: of the first look, evenly spaced.
        crossing: where the two are a cutoff apart; NaN: not known.
    """

    kind: str
    about: str
    at: Callable[[float], Structure]
    atom: int
    direction: Float64[np.ndarray, "3"]
    distances: Float64[np.ndarray, " K"]
    crossing: float


def smoothness(case: Case) -> Outcome:
    """Pull pairs of atoms apart through the cutoff, and an atom of the structure past its neighbours' cutoffs.

    A jump of E makes the dynamics gain or lose energy, one of F makes it do so with a finite time step, and one of
    dF/dr spoils the order of the integrator and all that is made of second derivatives.
    """
    lines = [pair_line(case, a, b) for a, b in _pairs(case.structure) if case.new_among((a, b))]
    inside = structure_line(case)
    if inside is not None:
        lines.append(inside)
    if not lines:
        return Outcome.of(not_applicable("smoothness", case.name, "no two atoms are near each other"))
    found: dict[str, list[tuple[float, Finding]]] = {"energy": [], "force": [], "slope": []}
    scans = []
    for line in lines:
        scan, jumps = examine(case, line)
        scans.append(scan)
        for quantity, jump in jumps.items():
            finding = _judge(case, line, quantity, jump, jumps["force"])
            ratio = finding.value / finding.tolerance if math.isfinite(finding.value) else math.inf
            found[quantity].append((ratio, finding))
    # A force that jumps has no slope: then that is said, and not how smooth other lines are.
    return Outcome([max(of, key=lambda pair: pair[0])[1] for of in found.values()], scans)


def examine(case: Case, line: Line) -> tuple[Scan, dict[str, Jump]]:
    """The curve along a line, and the largest jumps of energy, forces and slope."""
    known: dict[float, tuple[float, np.ndarray]] = {}  # the three quantities look at the same places, mostly

    def predict(places: Float64[np.ndarray, " K"]) -> tuple[np.ndarray, np.ndarray]:
        new = [place for place in places.tolist() if place not in known]
        for place, prediction in zip(new, case.predict(*map(line.at, new)), strict=True):
            known[place] = float(prediction.energy), prediction.forces.numpy()
        energies, forces = zip(*(known[place] for place in places.tolist()), strict=True)
        return np.array(energies)[:, None, None], np.stack(forces)

    energies, forces = predict(line.distances)
    places = () if math.isnan(line.crossing) else (line.crossing,)
    looks: tuple[tuple[str, int, np.ndarray, Of, float], ...] = (
        ("force", 1, forces, "value", case.noise.forces),
        ("energy", 0, energies, "value", case.noise.energy),
        ("slope", 1, forces, "slope", case.noise.forces),
    )
    jumps: dict[str, Jump] = {}
    for name, which, values, of, noise in looks:
        jumps[name] = largest_jump(
            lambda at, i=which: predict(at)[i],  # type: ignore[misc]  # mypy finds no type for a lambda with a default
            (line.distances, values),
            of,
            noise,
            0.3 * _LIMITS[name],
            (*places, *(jump.place for jump in jumps.values())),
        )
    broken = [jump for name, jump in jumps.items() if jump.size > max(_LIMITS[name], 20 * jump.error)]
    mark = line.crossing if places else broken[0].place if broken else math.nan
    return _curve(line, mark, predict, line.distances), jumps


def _curve(line: Line, mark: float, predict: Predict, distances: Float64[np.ndarray, " K"]) -> Scan:
    """The curve for the plot, with many points near the mark."""
    near = np.linspace(mark - WINDOW, mark + WINDOW, WINDOW_POINTS) if not math.isnan(mark) else np.zeros(0)
    places = np.unique(np.concatenate([distances, near]))
    energies, forces = predict(places)
    along = forces[:, line.atom] @ line.direction
    return Scan(line.kind, line.about, places, energies[:, 0, 0], along, mark)


def _judge(case: Case, line: Line, quantity: str, jump: Jump, of_force: Jump) -> Finding:
    law = {"energy": "E is continuous", "force": "F is continuous", "slope": "dF/dr is continuous"}[quantity]
    if quantity == "slope" and of_force.size > max(_LIMITS["force"], 10 * of_force.error):
        return not_applicable(law, case.name, f"F jumps at {of_force.place:.3f} Å, so it has no slope there")
    tolerance = max(_LIMITS[quantity], 20 * jump.error)
    if jump.size <= tolerance:
        says = f"none seen, to a spacing of {jump.spacing:.0e} Å; most at {jump.place:.3f} Å, {line.about}"
    else:
        says = f"{line.about} jumps at {jump.place:.4f} Å"
    return judged(law, case.name, jump.size, tolerance, _UNITS[quantity], says)


def _pairs(structure: Structure) -> list[tuple[int, int]]:
    """A pair of different elements, where there are two, and one of the same."""
    elements = np.unique(structure.numbers).tolist()
    return [(elements[0], elements[-1]), (elements[-1], elements[-1])][: min(len(elements), 2)]


def pair_line(case: Case, a: int, b: int) -> Line:
    """Two atoms on their own, in a direction that is no axis."""
    direction = np.array([0.48, 0.6, 0.64])
    cutoff = case.subject.potential.cutoff
    nearest = 0.8 * float(covalent_radii[a] + covalent_radii[b])
    farthest = max(FARTHEST, cutoff + 0.4)
    count = round((farthest - nearest) / PAIR_SPACING)
    name = f"{chemical_symbols[a]}–{chemical_symbols[b]}"
    return Line(
        kind="pair",
        about=f"the pair {name}",
        at=lambda r: atoms_in_box([a, b], np.outer([0.0, r], direction), f"{name} at {r:.6g} Å"),
        atom=1,
        direction=direction,
        distances=nearest + PAIR_SPACING * np.arange(count + 1),
        crossing=cutoff if cutoff > nearest + 0.1 else math.nan,
    )


def structure_line(case: Case) -> Line | None:
    """An atom displaced along the line to a neighbour that is about a cutoff away; None where there is no neighbour.

    In a molecule smaller than the cutoff these are its two outermost atoms, and one is pulled out of it.
    """
    structure, cutoff = case.structure, case.subject.potential.cutoff
    i, _, vectors = pairs_within(structure, (cutoff or FARTHEST / 2) + PULL)
    if not len(i):
        return None
    lengths = np.linalg.norm(vectors, axis=1)
    chosen = int(np.argmin(np.abs(lengths - cutoff))) if cutoff else int(np.argmax(lengths))
    atom, length = int(i[chosen]), float(lengths[chosen])
    away = -vectors[chosen] / length
    unit = np.outer(np.eye(len(structure))[atom], away)
    pulled_out = not structure.pbc.any() and length < cutoff - PULL
    farthest = cutoff + PULL if pulled_out else length + PULL
    spacing = PAIR_SPACING if pulled_out else CRYSTAL_SPACING
    reached = length - PULL + 0.05 < cutoff < farthest - 0.05
    return Line(
        kind="in the structure",
        about=f"atom {atom} ({chemical_symbols[structure.numbers[atom]]}) of the structure",
        at=lambda r: named(moved(structure, (r - length) * unit), f"atom {atom} displaced"),
        atom=atom,
        direction=away,
        distances=np.arange(length - PULL, farthest, spacing),
        crossing=cutoff if reached else math.nan,
    )
