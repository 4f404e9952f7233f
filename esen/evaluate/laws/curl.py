"""Forces that are the gradient of anything have a symmetric Jacobian."""

import numpy as np

from esen.evaluate.laws.jacobian import difference_jacobian, exact_jacobian
from esen.evaluate.laws.law import Outcome, judged, not_applicable
from esen.evaluate.laws.subject import LEAST_PRECISION, RELATIVE, Case

EXACT_ATOMS, DIFFERENCE_ATOMS = 16, 6
"""A larger structure is represented by the block of so many of its atoms; a block of a symmetric matrix is too."""


def curl(case: Case) -> Outcome:
    """λ = ‖J − Jᵀ‖ / 2‖J‖ in Frobenius' norm, J = ∂F/∂r: 0 for a gradient, at most 1 (Bigi et al., 2024).

    The exact Jacobian is known as well as the forces. That of finite differences has an error of its own, and
    the tolerance is five times that.
    """
    law, differentiable = "curl", case.subject.differentiable
    count = len(case.structure)
    if count < 2:
        return Outcome.of(not_applicable(law, case.name, "the force on a single atom is constant"))
    most = DIFFERENCE_ATOMS if differentiable is None else EXACT_ATOMS
    atoms = np.sort(case.rng(law).choice(count, size=min(most, count), replace=False)).astype(np.int64)
    if differentiable is None:
        jacobian = difference_jacobian(case, atoms)
    else:
        jacobian = exact_jacobian(case, differentiable, atoms)
    size = float(np.linalg.norm(jacobian.matrix))
    if size <= 10 * max(jacobian.error, 1e-9 * case.size):
        return Outcome.of(not_applicable(law, case.name, "forces do not change measurably as atoms move"))
    value = float(np.linalg.norm(jacobian.matrix - jacobian.matrix.T)) / (2 * size)
    noise = min(100 * case.noise.forces / case.size, LEAST_PRECISION)
    tolerance = max(RELATIVE, noise, 5 * jacobian.error / size)
    of = "all atoms" if len(atoms) == count else f"{len(atoms)} of {count} atoms"
    return Outcome.of(judged(law, case.name, value, tolerance, "", f"{of}, {jacobian.says}"))
