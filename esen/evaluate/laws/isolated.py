"""An atom that nothing is near."""

import numpy as np
from ase.data import chemical_symbols

from esen.evaluate.laws.law import Outcome, judged
from esen.evaluate.laws.moves import BOX, atoms_in_box
from esen.evaluate.laws.subject import Case

UNKNOWN = 15.0
"""Å between two atoms where the cutoff of the potential is not known."""


def isolated(case: Case) -> Outcome:
    """An atom on its own feels no force, and two beyond the cutoff have the sum of their energies, and no forces."""
    cutoff = case.subject.potential.cutoff
    apart = min(cutoff + 0.01, BOX / 2) if cutoff else UNKNOWN
    elements = np.unique(case.structure.numbers).tolist()
    single = [atoms_in_box([z], np.zeros((1, 3)), f"one atom of {chemical_symbols[z]}") for z in elements]
    pairs = [(a, b) for a, b in zip(elements, elements[1:] + elements[:1], strict=True)]
    far = [
        atoms_in_box(pair, np.outer([0.0, apart], [0.6, 0.0, 0.8]), f"two atoms {apart:.4g} Å apart")
        for pair in pairs
    ]
    predictions = case.predict(*single, *far)
    energies = {z: float(p.energy) for z, p in zip(elements, predictions, strict=False)}
    # energies of whole atoms and pairs, whose rounding grows with the reference energies in them
    energy = max(case.tolerances.energy, 1e-9 * max(map(abs, energies.values())))
    found = [(float(p.forces.abs().max()), case.tolerances.forces, "eV/Å") for p in predictions]
    for (a, b), prediction in zip(pairs, predictions[len(single) :], strict=True):
        found.append((abs(float(prediction.energy) - energies[a] - energies[b]), energy, "eV"))
    value, tolerance, unit = max(found, key=lambda one: one[0] / one[1])
    says = f"alone, and two {apart:.4g} Å apart"
    return Outcome.of(judged("isolated atom", case.name, value, tolerance, unit, says))
