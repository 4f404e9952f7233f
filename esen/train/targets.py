"""The loss of training: what each target contributes to it, and the term of denoising batches.

`esen.data.targets` declares the targets; `ERROR_SIZES` adds how the loss measures an error of each. The weight of a
target is the key of its name in `train.loss`. A new target needs an entry in each of the two places and its weight in
`LossSpec`; the loss, validation, metrics and checks of the data follow.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import assert_never

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from esen.data.targets import ENERGY, FORCES, STRESS, TARGETS, Target
from esen.graph.edges import count_of
from esen.graph.types import Graph, Labels, Prediction
from esen.recipe.train import LossSpec


def _size(error: Tensor, spec: LossSpec) -> Tensor:
    """Return ℓ(error) of `LossSpec.kind` for every number."""
    match spec.kind:
        case "l1":
            return error.abs()
        case "squared":
            return error.square()
        case "huber":
            size, delta = error.abs(), spec.huber_delta
            return torch.where(size <= delta, error.square() / (2 * delta), size - delta / 2)
        case _:
            assert_never(spec.kind)


def _size_of_vectors(error: Tensor, spec: LossSpec) -> Tensor:
    if spec.force_norm == "l2_squared":
        return error.square()
    return _size(torch.linalg.vector_norm(error, dim=1), spec)


ERROR_SIZES: dict[Target, Callable[[Tensor, LossSpec], Tensor]] = {
    ENERGY: _size,
    FORCES: _size_of_vectors,
    STRESS: _size,
}
"""Sizes of the errors of a target, whose mean over labels (and components) is its term of the loss."""

_NAMES = (*(target.name for target in TARGETS), "denoising")


@dataclass(frozen=True, eq=False)
class LossTerms:
    """The loss of a batch, or the share of a part of a batch in it.

    Attributes:
        total: What is minimised, the only tensor that can be differentiated.
        terms: Its terms before their weights: one per target, and that of the displacements.
    """

    total: Float64[Tensor, ""]
    terms: Float64[Tensor, " terms"]

    @classmethod
    def zero(cls, device: torch.device) -> "LossTerms":
        """Return a loss of zero, to which parts are added."""
        return cls(*(torch.zeros(shape, dtype=torch.float64, device=device) for shape in ((), len(_NAMES))))

    def __add__(self, other: "LossTerms") -> "LossTerms":
        """Return the loss of two parts of a batch, with means by the counts of the whole, without autograd graph."""
        return LossTerms((self.total + other.total).detach(), self.terms + other.terms)

    def with_denoising(self, term: Float64[Tensor, ""], coefficient: float) -> "LossTerms":
        """Return the loss with the term of the displacements, whose weight is the coefficient."""
        terms = torch.cat([self.terms[:-1], term.detach().unsqueeze(0)])
        return LossTerms(self.total + coefficient * term, terms)

    def named(self) -> dict[str, float]:
        """Return the terms by name."""
        return dict(zip(_NAMES, self.terms.tolist(), strict=True))


def label_counts(parts: Iterable[Labels]) -> dict[str, int]:
    """Count the labels of all parts of a batch, by target: structures for energy and stress, atoms for forces.

    Sums over labels become means by these counts, however many parts the batch is divided into.
    """
    labels = list(parts)
    return {target.name: sum(int(part.known(target).sum()) for part in labels) for target in TARGETS}


def training_loss(
    spec: LossSpec,
    scale: float,
    prediction: Prediction,
    labels: Labels,
    graph: Graph,
    *,
    counts: Mapping[str, int] | None = None,
    weights: Float64[Tensor, " B"] | None = None,
) -> LossTerms:
    """Return L = λ_E ⟨ℓ(ΔE/N)⟩ + λ_F · (force term) + λ_S ⟨ℓ(Δσ)⟩, with errors in units of `scale`.

    ℓ(r) is |r| (what the published code computes), r², or Huber's r²/2δ up to δ and |r| − δ/2 beyond. The force term is
    ⟨ℓ(‖ΔF_i‖)⟩ over atoms (`l2`) or 1/(3N) Σ_i ‖ΔF_i‖² (`l2_squared`, what the paper writes). ⟨ℓ(Δσ)⟩ is the mean over
    structures and the nine components. Missing labels are left out of each mean, and a term of weight 0 is left out of
    the sum, even if it is NaN.

    Args:
        spec: Weights and the kind of force term.
        scale: eV (eV/Å, eV/Å³) per unit of the network's energy.
        prediction: In eV, eV/Å, eV/Å³.
        labels: The same; NaN where missing.
        graph: Says which atom belongs to which structure.
        counts: Labels of the batch of which this is a part, so that the losses of the parts add up to the loss of the
            batch; by default those of `labels`.
        weights: Factors on the terms of each structure. Means are taken by the number of labels, not by the sum of
            the weights: a factor of ½ is half the gradient, whatever else is in the batch.
    """
    counts = counts or label_counts([labels])
    atoms = count_of(graph.structure, graph.num_structures).clamp(min=1)
    of_atoms = None if weights is None else weights[graph.structure]
    terms = []
    for target, size in ERROR_SIZES.items():
        known = labels.known(target)
        error = target.error(target.of(prediction), target.of(labels), atoms) / scale
        factors = of_atoms if target.of_atoms else weights
        terms.append(_mean(size(error[known], spec), known, counts[target.name], factors))
    zero = prediction.energy.new_zeros(())
    weighted = (
        target.of(spec) * term for target, term in zip(ERROR_SIZES, terms, strict=True) if target.of(spec)
    )
    return LossTerms(sum(weighted, start=zero), torch.stack([*terms, zero]).detach())


def without_displaced(labels: Labels, corrupted: Bool[Tensor, " N"]) -> Labels:
    """Return the labels that still hold when these atoms are displaced: energies, and the forces of the other atoms.

    The energy is that of the structure before. No stress is asked for where atoms are displaced.
    """
    return replace(
        labels,
        forces=labels.forces.masked_fill(corrupted.unsqueeze(1), torch.nan),
        stress=torch.full_like(labels.stress, torch.nan),
    )


def displacement_loss(
    predicted: Float64[Tensor, "N 3"],
    noise: Float64[Tensor, "N 3"],
    corrupted: Bool[Tensor, " N"],
    count: int,
    weights: Float64[Tensor, " N"] | None = None,
) -> Float64[Tensor, ""]:
    """Return Σ ‖predicted − noise‖ over the displaced atoms, divided by the number of atoms of the batch with a force.

    The force term of the other atoms is divided by the same count, so that each atom of a batch is asked for one
    vector: its displacement if it was displaced, its force otherwise.

    Args:
        predicted: Displacements in units of the standard deviation.
        noise: The true displacements.
        corrupted: Which atoms were displaced.
        count: Number of atoms with a force.
        weights: Factors on the terms of each atom.
    """
    sizes = torch.linalg.vector_norm((predicted - noise)[corrupted], dim=1)
    return _mean(sizes, corrupted, count, weights)


def _mean(sizes: Tensor, known: Tensor, count: int, weights: Tensor | None) -> Tensor:
    """Return Σ sizes / (count × components), where `sizes` are those of the known rows; zero if there is none."""
    if not len(sizes):
        return sizes.new_zeros(())
    per_row = sizes[0].numel()
    if weights is not None:
        sizes = sizes * weights[known].view(-1, *[1] * (sizes.ndim - 1))
    return sizes.sum() / (count * per_row)
