"""The loss of the paper: energy per atom, forces, stress."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Self

import torch
from jaxtyping import Float64
from torch import Tensor

from esen.graph.types import Graph, Labels, Prediction
from esen.recipe.train import LossSpec


@dataclass(frozen=True, eq=False)
class LossTerms:
    """The loss and its three terms, before their weights."""

    total: Float64[Tensor, ""]
    energy: Float64[Tensor, ""]
    forces: Float64[Tensor, ""]
    stress: Float64[Tensor, ""]

    def detach(self) -> Self:
        """The same, apart from the weights."""
        return type(self)(*(getattr(self, field.name).detach() for field in fields(self)))


def training_loss(
    spec: LossSpec, scale: float, prediction: Prediction, labels: Labels, graph: Graph
) -> LossTerms:
    """L = λ_E ⟨|ΔE|/N⟩ + λ_F · (force term) + λ_S ⟨|Δσ|⟩, with errors in units of `scale`.

    The force term is ⟨‖ΔF_i‖⟩ over atoms (`l2`, what the published code computes) or 1/(3N) Σ_i ‖ΔF_i‖² (`l2_squared`,
    what the paper writes). ⟨|Δσ|⟩ is over structures and the nine components. What has no label is left
    out of its mean, and a term of weight 0 out of the sum, whatever it is.

    Args:
        spec: weights and the kind of force term.
        scale: eV (eV/Å, eV/Å³) a unit of the network's energy.
        prediction: in eV, eV/Å, eV/Å³.
        labels: the same; NaN where missing.
        graph: which atom belongs to which structure.
    """
    atoms = torch.bincount(graph.structure, minlength=graph.num_structures).clamp(min=1)
    energy = _mean(torch.abs, (prediction.energy - labels.energy) / atoms / scale, labels.energy)
    stress = _mean(torch.abs, (prediction.stress - labels.stress) / scale, labels.stress)
    difference = (prediction.forces - labels.forces) / scale
    if spec.force_norm == "l2":
        forces = _mean(partial(torch.linalg.vector_norm, dim=1), difference, labels.forces)
    else:
        forces = _mean(torch.square, difference, labels.forces)
    weighted = [(spec.energy, energy), (spec.forces, forces), (spec.stress, stress)]
    total = sum((weight * term for weight, term in weighted if weight), start=energy.new_zeros(()))
    return LossTerms(total, energy, forces, stress)


def _mean(size: Callable[[Tensor], Tensor], difference: Tensor, label: Tensor) -> Tensor:
    """The mean size of the rows that have a label; zero if none has."""
    known = label.flatten(start_dim=1).isfinite().all(dim=1) if label.ndim > 1 else label.isfinite()
    if not bool(known.any()):
        return difference.new_zeros(())
    return size(difference[known]).mean()
