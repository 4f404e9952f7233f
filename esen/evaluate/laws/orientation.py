"""No direction of space is special."""

import numpy as np
from jaxtyping import Float64

from esen.evaluate.laws.law import Finding, Outcome, judged, not_applicable
from esen.evaluate.laws.moves import moved, named, random_rotation, rotation_onto, shortest_bond, turned
from esen.evaluate.laws.quantities import Deviation
from esen.evaluate.laws.subject import Case
from esen.evaluate.laws.symmetry import difference, worst_of

OFFSETS = (0.0, 1e-7, 1e-3)
"""Angles between the bond and the axis, in rad. The published eSEN code has a special case below 1.4e-3."""
DISPLACEMENT = 2e-3
"""Å. The bonds of a displaced atom stay within that angle."""
_AXES = [sign * axis for axis in np.eye(3) for sign in (1.0, -1.0)]


def no_pole(case: Case) -> Outcome:
    """Forces with a bond along ±x, ±y, ±z, or nearly so, are those of any other orientation, rotated.

    The same holds for the force constants of an atom of that bond: the change of its force as it is displaced.
    """
    bond = shortest_bond(case.structure)
    if bond is None:
        return Outcome.of(not_applicable("no pole", case.name, "no two atoms are near each other"))
    atom, _, vector = bond
    matrices = [
        rotation_onto(vector, axis + offset * np.roll(axis, 1)) for axis in _AXES for offset in OFFSETS
    ]
    after = case.predict(*(named(turned(case.structure, m), "a bond along an axis") for m in matrices))
    differences = [difference(case, p, m) for p, m in zip(after, matrices, strict=True)]
    says = "a bond along ±x, ±y, ±z, or 1e-7 and 1e-3 rad beside it"
    (forces,) = worst_of(case, "no pole", differences, says).findings
    return Outcome.of(forces, _force_constants(case, atom, vector))


def _force_constants(case: Case, atom: int, bond: Float64[np.ndarray, "3"]) -> Finding:
    """Compare K = −(F(+d) − F(−d)) / 2d with the bond along each axis to K with no bond along an axis."""
    matrices = [random_rotation(case.rng("force constants")), *(rotation_onto(bond, axis) for axis in _AXES)]
    structures = []
    for matrix in matrices:
        for step in DISPLACEMENT * np.concatenate([np.eye(3), -np.eye(3)]):
            displaced = moved(case.structure, np.outer(np.eye(len(case.structure))[atom], step))
            structures.append(named(turned(displaced, matrix), "an atom displaced, a bond along an axis"))
    predictions = case.predict(*structures)
    found = np.stack([p.forces.numpy()[atom] for p in predictions]).reshape(len(matrices), 2, 3, 3)
    turned_back = np.einsum("rsda,rab->rsdb", found, np.stack(matrices))
    constants = (turned_back[:, 1] - turned_back[:, 0]) / (2 * DISPLACEMENT)
    size = float(np.abs(constants).max())
    anisotropy = float(np.abs(constants[1:] - constants[0]).max())
    tolerance = max(1e-8 * size, case.tolerances.forces / DISPLACEMENT)
    says = f"of an atom displaced by {DISPLACEMENT} Å, up to {size:.3g} eV/Å²"
    return judged("force constants", case.name, Deviation(anisotropy, tolerance, "eV/Å²"), says)
