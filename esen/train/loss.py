"""The loss of the paper: energy per atom, forces, stress; and that of denoising."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Self

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from esen.graph.types import Graph, Labels, Prediction
from esen.recipe.train import LossSpec


@dataclass(frozen=True, eq=False)
class LossTerms:
    """The loss and its terms, before their weights.

    Attributes:
        total: what is minimised.
        energy: of energies per atom.
        forces: of forces; of those atoms that were not displaced, where others were.
        stress: of stresses.
        denoising: of displacements; zero where nothing was displaced.
    """

    total: Float64[Tensor, ""]
    energy: Float64[Tensor, ""]
    forces: Float64[Tensor, ""]
    stress: Float64[Tensor, ""]
    denoising: Float64[Tensor, ""]

    @classmethod
    def zero(cls, device: torch.device) -> Self:
        """Of nothing."""
        return cls(*(torch.zeros((), dtype=torch.float64, device=device) for _ in fields(cls)))

    def tensors(self) -> list[Tensor]:
        """The terms, one after another."""
        return [getattr(self, field.name) for field in fields(self)]

    def detach(self) -> Self:
        """The same, apart from the weights."""
        return type(self)(*(getattr(self, field.name).detach() for field in fields(self)))

    def __add__(self, other: Self) -> Self:
        """Of both parts of a batch, whose means were taken by the counts of the whole."""
        return type(self)(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True)
class Counts:
    """How many labels a batch has: by them its sums become means, in however many parts it is done.

    Attributes:
        energies: structures with an energy.
        forces: atoms with a force.
        stresses: structures with a stress.
    """

    energies: int
    forces: int
    stresses: int

    @classmethod
    def of(cls, parts: Iterable[Labels]) -> Self:
        """Of all parts of a batch."""
        numbers = [
            tuple(int(_known(label).sum()) for label in (part.energy, part.forces, part.stress))
            for part in parts
        ]
        return cls(*(sum(column) for column in zip((0, 0, 0), *numbers, strict=True)))


def training_loss(  # what a batch is, and what it is a part of
    spec: LossSpec,
    scale: float,
    prediction: Prediction,
    labels: Labels,
    graph: Graph,
    *,
    counts: Counts | None = None,
    weights: Float64[Tensor, " B"] | None = None,
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
        counts: of the batch that this is a part of, so that the losses of its parts add up to its own.
        weights: factors on the terms of each structure. Means are taken by the number of labels, not by the sum of
            the weights: a factor of ½ is half the gradient, whatever else is in the batch.
    """
    counts = counts or Counts.of([labels])
    atoms = torch.bincount(graph.structure, minlength=graph.num_structures).clamp(min=1)
    of_atoms = None if weights is None else weights[graph.structure]
    energy = (prediction.energy - labels.energy) / atoms / scale
    stress = (prediction.stress - labels.stress) / scale
    forces = (prediction.forces - labels.forces) / scale
    length: Callable[[Tensor], Tensor] = (
        partial(torch.linalg.vector_norm, dim=1) if spec.force_norm == "l2" else torch.square
    )
    terms = (
        _mean(torch.abs, energy, labels.energy, counts.energies, weights),
        _mean(length, forces, labels.forces, counts.forces, of_atoms),
        _mean(torch.abs, stress, labels.stress, counts.stresses, weights),
    )
    pairs = zip((spec.energy, spec.forces, spec.stress), terms, strict=True)
    zero = prediction.energy.new_zeros(())
    total = sum((weight * term for weight, term in pairs if weight), start=zero)
    return LossTerms(total, *terms, denoising=zero)


def without_displaced(labels: Labels, corrupted: Bool[Tensor, " N"]) -> Labels:
    """The labels that hold although these atoms were displaced: energies, and the forces of the others.

    The energy is that of the structure before. A stress is not asked for where atoms are displaced.
    """
    nan = torch.full_like(labels.forces, float("nan"))
    return replace(
        labels,
        forces=torch.where(corrupted.unsqueeze(1), nan, labels.forces),
        stress=torch.full_like(labels.stress, float("nan")),
    )


def displacement_loss(
    predicted: Float64[Tensor, "N 3"],
    noise: Float64[Tensor, "N 3"],
    corrupted: Bool[Tensor, " N"],
    count: int,
    weights: Float64[Tensor, " N"] | None = None,
) -> Float64[Tensor, ""]:
    """Σ ‖predicted − noise‖ over the displaced atoms, divided by the count of all atoms of the batch with a force.

    With the force term of the other atoms, which is divided by the same count, each atom of a batch is asked for one
    vector: the displaced ones for their displacement, the others for their force.

    Args:
        predicted: displacements in units of the standard deviation.
        noise: the true ones.
        corrupted: which atoms were displaced.
        count: of atoms with a force.
        weights: factors on the terms of each atom.
    """
    label = torch.where(corrupted.unsqueeze(1), noise, torch.full_like(noise, float("nan")))
    return _mean(partial(torch.linalg.vector_norm, dim=1), predicted - noise, label, count, weights)


def _known(label: Tensor) -> Tensor:
    """Which rows have a label."""
    return label.flatten(start_dim=1).isfinite().all(dim=1) if label.ndim > 1 else label.isfinite()


def _mean(
    size: Callable[[Tensor], Tensor], difference: Tensor, label: Tensor, count: int, weights: Tensor | None
) -> Tensor:
    """Σ of the sizes of the rows that have a label, by the number of rows that have one; zero if none has."""
    known = _known(label)
    if not bool(known.any()):
        return difference.new_zeros(())
    sizes = size(difference[known])
    per_row = sizes[0].numel()
    if weights is not None:
        sizes = sizes * weights[known].view(-1, *[1] * (sizes.ndim - 1))
    return sizes.sum() / (count * per_row)
