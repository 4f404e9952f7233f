"""Energy, forces and their slope are continuous as an atom approaches and leaves others."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from jaxtyping import Float64

from esen.data.structure import Structure
from esen.evaluate.laws.jumps import Jump, Of, largest_jump
from esen.evaluate.laws.law import Finding, Outcome, Scan, judged, not_applicable
from esen.evaluate.laws.moves import OBLIQUE, moved, named, pair_name, pairs_within, two_atoms
from esen.evaluate.laws.quantities import Deviation
from esen.evaluate.laws.subject import Case

PAIR_SPACING, CRYSTAL_SPACING = 0.02, 0.01
"""Å between the points of the coarse scan."""
FARTHEST = 8.0
"""Å to which a pair is pulled apart, or beyond the cutoff if that is larger."""
WINDOW, WINDOW_POINTS = 0.15, 120
"""Å on either side of the cutoff or jump that the plot shows, and its number of points."""
PULL = 0.3
"""Å by which an atom of a structure is displaced in either direction."""


@dataclass(frozen=True)
class Continuity:
    """The law that a function of the distance has no jumps.

    Attributes:
        law: Name of the law.
        unit: Unit of the function.
        limit: Tolerance of a jump without noise. A potential without jumps stays below it at the finest spacing, one
            with jumps exceeds it.
        of_energy: Whether the function is made of the energy; otherwise it is made of the forces.
        of: Whether the function is their value or their slope.
    """

    law: str
    unit: str
    limit: float
    of_energy: bool
    of: Of

    def tolerance(self, jump: Jump) -> float:
        """The largest jump allowed, which grows with the effect of noise."""
        return max(self.limit, 20 * jump.error)


ENERGY = Continuity("E is continuous", "eV", 1e-7, of_energy=True, of="value")
FORCE = Continuity("F is continuous", "eV/Å", 1e-6, of_energy=False, of="value")
SLOPE = Continuity("dF/dr is continuous", "eV/Å²", 1e-4, of_energy=False, of="slope")

Predict = Callable[[Float64[np.ndarray, " K"]], tuple[np.ndarray, np.ndarray]]
"""Returns energies (K, 1, 1) and forces (K, N, 3) at K distances."""


@dataclass(frozen=True, eq=False)
class Line:
    """Structures along a line.

    Attributes:
        kind: `pair` or `in the structure`.
        about: What is moved.
        at: Returns the structure for a distance of the two atoms in Å.
        atom: Index of the atom that moves.
        direction: Unit vector in which it moves.
        distances: Distances of the coarse scan, evenly spaced.
        crossing: Distance at which the two atoms are a cutoff apart; NaN if it is not known.
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

    With a jump of E the dynamics gains or loses energy; with one of F it does so at any finite time step. A jump of
    dF/dr spoils the order of the integrator and all properties made of second derivatives.
    """
    lines = [pair_line(case, a, b) for a, b in _pairs(case.structure) if case.new_among((a, b))]
    inside = structure_line(case)
    if inside is not None:
        lines.append(inside)
    if not lines:
        return Outcome.of(not_applicable("smoothness", case.name, "no two atoms are near each other"))
    scans, found = [], []
    for line in lines:
        scan, jumps = examine(case, line)
        scans.append(scan)
        found.append([_judge(case, line, law, jumps) for law in (ENERGY, FORCE, SLOPE)])
    # If a force jumps, its slope is not applicable, with an infinite ratio: this is reported before any other line.
    return Outcome([max(of_law, key=lambda f: f.ratio) for of_law in zip(*found, strict=True)], scans)


def examine(case: Case, line: Line) -> tuple[Scan, dict[Continuity, Jump]]:
    """Compute the curve along a line, and the largest jumps of energy, forces and slope."""
    known: dict[float, tuple[float, np.ndarray]] = {}  # the three laws mostly look at the same places

    def predict(places: Float64[np.ndarray, " K"]) -> tuple[np.ndarray, np.ndarray]:
        new = [place for place in places.tolist() if place not in known]
        for place, prediction in zip(new, case.predict(*map(line.at, new)), strict=True):
            known[place] = float(prediction.energy), prediction.forces.numpy()
        energies, forces = zip(*(known[place] for place in places.tolist()), strict=True)
        return np.array(energies)[:, None, None], np.stack(forces)

    crossing = [] if math.isnan(line.crossing) else [line.crossing]
    jumps: dict[Continuity, Jump] = {}
    for law in (FORCE, ENERGY, SLOPE):

        def function(places: Float64[np.ndarray, " K"], law: Continuity = law) -> np.ndarray:
            return predict(places)[0 if law.of_energy else 1]

        jumps[law] = largest_jump(
            function,
            (line.distances, function(line.distances)),
            law.of,
            case.noise.energy if law.of_energy else case.noise.forces,
            0.3 * law.limit,
            [*crossing, *(jump.place for jump in jumps.values())],
        )
    marks = crossing + [jump.place for law, jump in jumps.items() if jump.size > law.tolerance(jump)]
    return _curve(line, marks[0] if marks else math.nan, predict), jumps


def _curve(line: Line, mark: float, predict: Predict) -> Scan:
    """Return the curve for the plot, with many points near the mark."""
    near = np.linspace(mark - WINDOW, mark + WINDOW, WINDOW_POINTS) if not math.isnan(mark) else np.zeros(0)
    places = np.unique(np.concatenate([line.distances, near]))
    energies, forces = predict(places)
    along = forces[:, line.atom] @ line.direction
    return Scan(line.kind, line.about, places, energies[:, 0, 0], along, mark)


def _judge(case: Case, line: Line, law: Continuity, jumps: dict[Continuity, Jump]) -> Finding:
    jump, of_force = jumps[law], jumps[FORCE]
    if law is SLOPE and of_force.size > max(FORCE.limit, 10 * of_force.error):
        why = f"F jumps at {of_force.place:.3f} Å, so it has no slope there"
        return not_applicable(law.law, case.name, why)
    deviation = Deviation(jump.size, law.tolerance(jump), law.unit)
    if deviation.value <= deviation.tolerance:
        says = f"none seen, to a spacing of {jump.spacing:.0e} Å; most at {jump.place:.3f} Å, {line.about}"
    else:
        says = f"{line.about} jumps at {jump.place:.4f} Å"
    return judged(law.law, case.name, deviation, says)


def _pairs(structure: Structure) -> list[tuple[int, int]]:
    """Return a pair of different elements, if there are two, and one pair of the same element."""
    elements = np.unique(structure.numbers).tolist()
    return [(elements[0], elements[-1]), (elements[-1], elements[-1])][: min(len(elements), 2)]


def pair_line(case: Case, a: int, b: int) -> Line:
    """Return the line of two isolated atoms that are pulled apart."""
    cutoff = case.subject.potential.cutoff
    nearest = 0.8 * float(covalent_radii[a] + covalent_radii[b])
    count = round((max(FARTHEST, cutoff + 0.4) - nearest) / PAIR_SPACING)
    name = pair_name(a, b)
    return Line(
        kind="pair",
        about=f"the pair {name}",
        at=lambda r: two_atoms([a, b], r, f"{name} at {r:.6g} Å"),
        atom=1,
        direction=OBLIQUE,
        distances=nearest + PAIR_SPACING * np.arange(count + 1),
        crossing=cutoff if cutoff > nearest + 0.1 else math.nan,
    )


def structure_line(case: Case) -> Line | None:
    """Return the line of an atom that is displaced along the vector to a neighbour about a cutoff away.

    In a molecule smaller than the cutoff these are its two outermost atoms, and one is pulled out of it. The result is
    None if there is no neighbour.
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
