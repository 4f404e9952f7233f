"""J = ∂F/∂r of some atoms: exactly where the forces can be differentiated, else by finite differences."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float64, Int64

from esen.evaluate.laws.differences import STEPS, derivative
from esen.evaluate.laws.moves import moved, named
from esen.evaluate.laws.subject import Case
from esen.graph.batch import make_graph
from esen.graph.types import Potential


@dataclass(frozen=True, eq=False)
class Jacobian:
    """A square block of ∂F/∂r, rows and columns of the same atoms.

    Attributes:
        matrix: in eV/Å².
        error: of the matrix, in Frobenius' norm; 0 where it is exact.
        says: how it was found.
    """

    matrix: Float64[np.ndarray, "n n"]
    error: float
    says: str


def exact_jacobian(case: Case, differentiable: Potential, atoms: Int64[np.ndarray, " k"]) -> Jacobian:
    """One backward pass a row through the forces of a potential that allows it."""
    subject = case.subject
    graph = make_graph(case.structure, differentiable.cutoff, differentiable.backend).to(subject.device)
    positions = graph.positions.clone().requires_grad_()
    with torch.enable_grad():
        forces = differentiable(replace(graph, positions=positions)).forces
    components = forces[torch.from_numpy(atoms)].reshape(-1)
    rows = []
    for component in components:
        (row,) = torch.autograd.grad(component, positions, retain_graph=True, materialize_grads=True)
        rows.append(row.cpu().numpy()[atoms].reshape(-1))
    return Jacobian(np.stack(rows), 0.0, "by automatic differentiation")


def difference_jacobian(case: Case, atoms: Int64[np.ndarray, " k"]) -> Jacobian:
    """A column a displaced coordinate; the step is that which is best for the first column."""

    def forces_along(atom: int, axis: int, places: Sequence[float]) -> Float64[np.ndarray, "K M"]:
        unit = np.outer(np.eye(len(case.structure))[atom], np.eye(3)[axis])
        predictions = case.predict(*(named(moved(case.structure, h * unit), "displaced") for h in places))
        return np.stack([p.forces.numpy()[atoms].reshape(-1) for p in predictions])

    steps: Sequence[float] = STEPS
    columns, errors = [], []
    for atom in atoms:
        for axis in range(3):
            column = derivative(
                lambda places, a=int(atom), x=axis: forces_along(a, x, places),  # type: ignore[misc]  # mypy finds no type for a lambda with a default
                case.noise.forces,
                steps,
            )
            steps = (column.step,)
            columns.append(column.value)
            errors.append(column.error)
    says = f"by finite differences of the forces, step {steps[0]:g} Å"
    error = float(np.sqrt(len(columns) * np.square(errors).sum()))
    return Jacobian(np.stack(columns, axis=1), error, says)
