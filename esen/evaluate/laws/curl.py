"""The forces are curl-free: a force field that is a gradient has a symmetric Jacobian J = ∂F/∂r."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float64, Int64

from esen.evaluate.laws.differences import STEPS, derivative
from esen.evaluate.laws.law import Outcome, judged, not_applicable
from esen.evaluate.laws.moves import moved, named
from esen.evaluate.laws.quantities import Deviation
from esen.evaluate.laws.subject import LEAST_PRECISION, RELATIVE, Case
from esen.graph.batch import make_graph
from esen.graph.types import Potential

EXACT_ATOMS, DIFFERENCE_ATOMS = 16, 6
"""Atoms in the block of the Jacobian that represents a larger structure. A block of a symmetric matrix is symmetric."""


@dataclass(frozen=True, eq=False)
class Jacobian:
    """A square block of ∂F/∂r, whose rows and columns belong to the same atoms.

    Attributes:
        matrix: The block, in eV/Å².
        error: Error of the matrix in the Frobenius norm; 0 if the matrix is exact.
        says: How it was computed.
    """

    matrix: Float64[np.ndarray, "n n"]
    error: float
    says: str


def curl(case: Case) -> Outcome:
    """Measure λ = ‖J − Jᵀ‖ / 2‖J‖ in the Frobenius norm: 0 for a gradient, at most 1 (Bigi et al., 2024).

    An exact Jacobian is as accurate as the forces. One by finite differences has an error of its own, and the
    tolerance is five times that error.
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
    asymmetry = float(np.linalg.norm(jacobian.matrix - jacobian.matrix.T)) / (2 * size)
    noise = min(100 * case.noise.forces / case.size, LEAST_PRECISION)
    tolerance = max(RELATIVE, noise, 5 * jacobian.error / size)
    of = "all atoms" if len(atoms) == count else f"{len(atoms)} of {count} atoms"
    return Outcome.of(judged(law, case.name, Deviation(asymmetry, tolerance, ""), f"{of}, {jacobian.says}"))


def exact_jacobian(case: Case, differentiable: Potential, atoms: Int64[np.ndarray, " k"]) -> Jacobian:
    """Compute the Jacobian by automatic differentiation, with one backward pass per row."""
    graph = make_graph(case.structure, differentiable.cutoff, differentiable.backend).to(case.subject.device)
    positions = graph.positions.clone().requires_grad_()
    with torch.enable_grad():
        forces = differentiable(replace(graph, positions=positions)).forces
    rows = []
    for component in forces[torch.from_numpy(atoms)].reshape(-1):
        (row,) = torch.autograd.grad(component, positions, retain_graph=True, materialize_grads=True)
        rows.append(row.cpu().numpy()[atoms].reshape(-1))
    return Jacobian(np.stack(rows), 0.0, "by automatic differentiation")


def difference_jacobian(case: Case, atoms: Int64[np.ndarray, " k"]) -> Jacobian:
    """Compute the Jacobian column by column, with the step that is best for the first column."""
    steps: Sequence[float] = STEPS
    columns, errors = [], []
    for atom in atoms:
        for axis in range(3):
            unit = np.outer(np.eye(len(case.structure))[atom], np.eye(3)[axis])

            def forces_along(places: Sequence[float], unit: np.ndarray = unit) -> np.ndarray:
                displaced = (named(moved(case.structure, h * unit), "displaced") for h in places)
                return np.stack([p.forces.numpy()[atoms].reshape(-1) for p in case.predict(*displaced)])

            column = derivative(forces_along, case.noise.forces, steps)
            steps = (column.step,)
            columns.append(column.value)
            errors.append(column.error)
    error = float(np.sqrt(len(columns) * np.square(errors).sum()))
    says = f"by finite differences of the forces, step {steps[0]:g} Å"
    return Jacobian(np.stack(columns, axis=1), error, says)
