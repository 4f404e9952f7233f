"""Atoms interact when they are near each other, and only then."""

from collections.abc import Sequence

import numpy as np
from ase.data import chemical_symbols, covalent_radii

from esen.data.structure import Structure
from esen.evaluate.laws.law import Finding, Outcome, broken, judged
from esen.evaluate.laws.moves import BOX, atoms_in_box, moved, named, strained, two_atoms
from esen.evaluate.laws.quantities import Deviation
from esen.evaluate.laws.subject import Case, NoPredictionError

UNKNOWN = 15.0
"""Å between two atoms if the cutoff of the potential is not known."""
SILENT = 1e-10
"""eV/Å. The force on a displaced atom is larger in any potential."""
_DISPLACEMENT = 0.1
_BONDS = (0.7, 1.0, 1.4)
"""Distances of two atoms, in sums of their covalent radii."""
_DIRECTION = np.array([0.6, 0.0, 0.8])


def isolated(case: Case) -> Outcome:
    """An isolated atom feels no force; two atoms beyond the cutoff feel none, and their energies add up."""
    cutoff = case.subject.potential.cutoff
    apart = min(cutoff + 0.01, BOX / 2) if cutoff else UNKNOWN
    elements = np.unique(case.structure.numbers).tolist()
    single = [atoms_in_box([z], np.zeros((1, 3)), f"one atom of {chemical_symbols[z]}") for z in elements]
    pairs = list(zip(elements, elements[1:] + elements[:1], strict=True))
    far = [two_atoms(pair, apart, f"two atoms {apart:.4g} Å apart", _DIRECTION) for pair in pairs]
    predictions = case.predict(*single, *far)
    energies = {z: float(p.energy) for z, p in zip(elements, predictions, strict=False)}
    # total energies, whose rounding grows with the reference energies in them
    tolerance = max(case.tolerances.energy, 1e-9 * max(map(abs, energies.values())))
    found = [Deviation(float(p.forces.abs().max()), case.tolerances.forces, "eV/Å") for p in predictions]
    for (a, b), prediction in zip(pairs, predictions[len(single) :], strict=True):
        binding = float(prediction.energy) - energies[a] - energies[b]
        found.append(Deviation(abs(binding), tolerance, "eV"))
    worst = max(found, key=lambda deviation: deviation.ratio)
    return Outcome.of(judged("isolated atom", case.name, worst, f"alone, and two {apart:.4g} Å apart"))


def nothing_interacts(case: Case) -> bool:
    """Whether energy and forces stay the same as atoms and, in a periodic structure, the cell are moved."""
    if float(case.prediction.forces.abs().max()) > SILENT:
        return False
    displacement = _DISPLACEMENT * case.rng("interaction").normal(size=case.structure.positions.shape)
    others = [named(moved(case.structure, displacement), "displaced")]
    if case.structure.pbc.any():
        others.append(named(strained(case.structure, 0.01 * np.eye(3)), "strained"))
    try:
        predictions = case.predict(*others)
    except NoPredictionError:
        return False
    energy, least = float(case.prediction.energy), max(SILENT, case.noise.energy)
    return all(
        float(p.forces.abs().max()) <= SILENT and abs(float(p.energy) - energy) <= least for p in predictions
    )


def no_interaction(cases: Sequence[Case]) -> Finding | None:
    """Return a finding if a potential gives no forces at all, which obeys nearly every law.

    The forces on the structures, on displaced atoms and between two atoms are looked at. The result is None if one of
    them does not vanish, or if the potential refuses such an input.
    """
    if any(float(case.prediction.forces.abs().max()) > SILENT for case in cases):
        return None
    for case in cases:
        try:
            predictions = case.predict(*_probes(case))
        except NoPredictionError:
            return None
        if any(float(prediction.forces.abs().max()) > SILENT for prediction in predictions):
            return None
    names = ", ".join(dict.fromkeys(case.name for case in cases))
    return broken("interaction", names, "no forces, not on displaced atoms and not between two atoms")


def _probes(case: Case) -> list[Structure]:
    structure = case.structure
    displacement = _DISPLACEMENT * case.rng("interaction").normal(size=structure.positions.shape)
    probes = [named(moved(structure, displacement), "displaced")]
    elements = np.unique(structure.numbers).tolist()
    for a, b in [(z, z) for z in elements] + [(elements[0], elements[-1])]:
        radii = float(covalent_radii[a] + covalent_radii[b])
        probes += [two_atoms((a, b), bonds * radii, "two atoms", _DIRECTION) for bonds in _BONDS]
    return probes
