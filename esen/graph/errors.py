"""Errors of predictions against labels, summed over batches."""

import math
from dataclasses import dataclass, field
from typing import Self

import torch
from jaxtyping import Float64
from torch import Tensor

from esen.graph.types import Graph, Labels, Prediction


@dataclass(frozen=True)
class Errors:
    """Mean absolute (mae) and root mean square (rmse) errors; None where no label was given.

    Attributes:
        energy_mae: of E/N, in meV/atom, mean over structures.
        energy_rmse: the same.
        forces_mae: in meV/Å, mean over the three components of all atoms.
        forces_rmse: the same.
        forces_l2: ‖ΔF‖ in meV/Å, mean over atoms.
        stress_mae: in meV/Å³, mean over the nine components of the tensor, so that each shear counts twice.
        stress_rmse: the same.
    """

    energy_mae: float | None
    energy_rmse: float | None
    forces_mae: float | None
    forces_rmse: float | None
    forces_l2: float | None
    stress_mae: float | None
    stress_rmse: float | None


@dataclass(eq=False)
class _Moments:
    """Count, Σ|x| and Σx² of what was added; NaN marks a missing label and is left out."""

    count: int = 0
    absolute: float = 0.0
    squared: float = 0.0

    def add(self, differences: Tensor, known: Tensor) -> None:
        values = differences[known]
        self.count += values.numel()
        self.absolute += float(values.abs().sum())
        self.squared += float(values.square().sum())

    @property
    def mae(self) -> float | None:
        return 1e3 * self.absolute / self.count if self.count else None

    @property
    def rmse(self) -> float | None:
        return 1e3 * math.sqrt(self.squared / self.count) if self.count else None


@dataclass(eq=False)
class ErrorSums:
    """Sums in float64 from which the errors of a whole set follow, whatever its batches."""

    _energy: _Moments = field(default_factory=_Moments)
    _forces: _Moments = field(default_factory=_Moments)
    _forces_l2: _Moments = field(default_factory=_Moments)
    _stress: _Moments = field(default_factory=_Moments)

    def add(self, prediction: Prediction, labels: Labels, graph: Graph) -> None:
        """Add a batch. Missing labels (NaN) are left out; a NaN that was predicted shows in the errors."""
        atoms = torch.bincount(graph.structure, minlength=graph.num_structures)
        energy = (prediction.energy.detach().double() - labels.energy) / atoms
        self._energy.add(energy, ~labels.energy.isnan())
        self.add_forces(prediction.forces, labels.forces)
        stress = prediction.stress.detach().double() - labels.stress
        self._stress.add(stress, ~labels.stress.isnan())

    def add_forces(self, predicted: Float64[Tensor, "N 3"], labels: Float64[Tensor, "N 3"]) -> None:
        """Add the forces of some atoms only, e.g. of one element."""
        forces = predicted.detach().double() - labels
        known = ~labels.isnan()
        self._forces.add(forces, known)
        self._forces_l2.add(forces.norm(dim=1), known.all(dim=1))

    def numbers(self) -> list[float]:
        """All sums, so that those of several processes can be added."""
        moments = (self._energy, self._forces, self._forces_l2, self._stress)
        return [number for m in moments for number in (m.count, m.absolute, m.squared)]

    @classmethod
    def of_numbers(cls, numbers: list[float]) -> Self:
        """From what `numbers` gave."""
        triples = [numbers[start : start + 3] for start in range(0, len(numbers), 3)]
        return cls(*(_Moments(int(count), absolute, squared) for count, absolute, squared in triples))

    def errors(self) -> Errors:
        """The errors of all that was added."""
        return Errors(
            energy_mae=self._energy.mae,
            energy_rmse=self._energy.rmse,
            forces_mae=self._forces.mae,
            forces_rmse=self._forces.rmse,
            forces_l2=self._forces_l2.mae,
            stress_mae=self._stress.mae,
            stress_rmse=self._stress.rmse,
        )
