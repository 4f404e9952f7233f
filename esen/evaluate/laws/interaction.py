"""A potential without forces obeys nearly every law, and says nothing."""

from collections.abc import Sequence

import numpy as np
from ase.data import covalent_radii

from esen.data.structure import Structure
from esen.evaluate.laws.law import Finding, broken
from esen.evaluate.laws.moves import atoms_in_box, moved, named
from esen.evaluate.laws.subject import Case, NoPredictionError

SILENT = 1e-10
"""eV/Å. A displaced atom of any potential feels more."""
_DISPLACEMENT = 0.1
_BONDS = (0.7, 1.0, 1.4)
"""Distances of two atoms, in sums of their covalent radii."""


def no_interaction(cases: Sequence[Case]) -> Finding | None:
    """The finding that there are no forces: not on any structure, not when its atoms are displaced, not on two atoms.

    None where there are some, or where the potential refuses to say.
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
        for bonds in _BONDS:
            r = bonds * float(covalent_radii[a] + covalent_radii[b])
            probes.append(atoms_in_box([a, b], np.outer([0.0, r], [0.6, 0.0, 0.8]), "two atoms"))
    return probes
