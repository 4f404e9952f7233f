"""Inputs and outputs of potentials. Labels are separate from `Graph`, so that a model cannot see them."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from esen.data.structure import FLAT
from esen.data.targets import Target
from esen.recipe.model import Backend

Moved = TypeVar("Moved", bound="OnDevice")


class OnDevice:
    """Dataclasses whose tensors, also those of nested dataclasses of this kind, move between devices together."""

    def to(self: Moved, device: torch.device | str) -> Moved:
        """Return the object on `device`; tensors that are already there are shared, not copied."""
        wait = torch.device(device).type != "cuda"  # later operations on the GPU wait by themselves
        return self.map(lambda value: value.to(device, non_blocking=not wait))

    def pinned(self: Moved) -> Moved:
        """Return the object in page-locked memory, from which a GPU copies while the processor goes on."""
        return self.map(torch.Tensor.pin_memory)

    def map(self: Moved, function: Callable[[Tensor], Tensor]) -> Moved:
        """Return the object with a function applied to each of its tensors."""
        changed: dict[str, object] = {}
        for field in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value = getattr(self, field.name)
            if isinstance(value, OnDevice):
                changed[field.name] = value.map(function)
            elif isinstance(value, Tensor):
                changed[field.name] = function(value)
        return replace(self, **changed)  # type: ignore[type-var]  # the same


@dataclass(frozen=True, eq=False)
class Graph(OnDevice):
    """A batch of B structures with N atoms and E directed edges in total. Geometry is in float64.

    Attributes:
        numbers: atomic numbers.
        positions: positions in Å.
        cell: lattice vectors in Å, as rows.
        pbc: mask of the lattice vectors along which a structure is periodic.
        structure: index of the structure of each atom, ascending.
        sender: index of the neighbour, one per edge.
        receiver: index of the central atom, one per edge, ascending.
        shift: displacement of the sender's image in whole lattice vectors.
    """

    numbers: Int64[Tensor, " N"]
    positions: Float64[Tensor, "N 3"]
    cell: Float64[Tensor, "B 3 3"]
    pbc: Bool[Tensor, "B 3"]
    structure: Int64[Tensor, " N"]
    sender: Int64[Tensor, " E"]
    receiver: Int64[Tensor, " E"]
    shift: Float64[Tensor, "E 3"]

    @property
    def volume(self) -> Float64[Tensor, " B"]:
        """|det cell| in Å³, whatever the periodicity; 0 for structures whose lattice vectors span no volume."""
        first, second, third = self.cell.unbind(dim=1)
        volume = (first * torch.linalg.cross(second, third)).sum(dim=1).abs()
        spanned = volume > FLAT * torch.linalg.vector_norm(self.cell, dim=2).prod(dim=1)
        return torch.where(spanned, volume, torch.zeros_like(volume))

    @property
    def num_structures(self) -> int:
        """B, the number of structures."""
        return int(self.cell.shape[0])

    @property
    def num_atoms(self) -> int:
        """N, the number of atoms."""
        return int(self.numbers.shape[0])

    @property
    def num_edges(self) -> int:
        """E, the number of directed edges."""
        return int(self.sender.shape[0])


@dataclass(frozen=True, eq=False)
class Labels(OnDevice):
    """Reference values of a batch, one field per `Target`. A missing label is NaN and is left out of every mean.

    Attributes:
        energy: total energies in eV.
        forces: forces in eV/Å.
        stress: stress in eV/Å³, with the sign of ASE.
    """

    energy: Float64[Tensor, " B"]
    forces: Float64[Tensor, "N 3"]
    stress: Float64[Tensor, "B 3 3"]

    def known(self, target: Target) -> Bool[Tensor, " rows"]:
        """Return the mask of structures, or atoms, with a label of the target: all of its components are finite."""
        label: Tensor = target.of(self)
        return label.view(len(label), -1).isfinite().all(dim=1)


@dataclass(frozen=True, eq=False)
class Prediction(OnDevice):
    """The prediction of a potential for a batch, in float64.

    Attributes:
        energy: total energies in eV.
        forces: forces in eV/Å.
        stress: σ = W/V in eV/Å³, with the sign of ASE: tension is positive. It is NaN where the potential has none, and
            for structures whose cell has no volume, such as molecules without a cell.
        energies: energies of the atoms in eV, which sum to `energy`.
        virial: W = ∂E/∂ε = V σ in eV, symmetric, for the strain r → r(1 + ε), cell → cell(1 + ε). Some programs call −W
            the virial. It needs no volume where forces are derivatives of the energy; otherwise it is NaN without one.
    """

    energy: Float64[Tensor, " B"]
    forces: Float64[Tensor, "N 3"]
    stress: Float64[Tensor, "B 3 3"]
    energies: Float64[Tensor, " N"]
    virial: Float64[Tensor, "B 3 3"]

    @classmethod
    def of_stress(
        cls, graph: Graph, energy: Tensor, forces: Tensor, stress: Tensor, energies: Tensor
    ) -> "Prediction":
        """Return a prediction with a stress that is not derived from a virial; it is NaN where there is no volume."""
        volume = graph.volume[:, None, None]
        stress = torch.where(volume > 0, stress, torch.nan)
        return cls(energy, forces, stress, energies, stress * volume)


@runtime_checkable
class Potential(Protocol):
    """Anything that predicts energy, forces and stress: our network, or an ASE calculator behind an adapter.

    Attributes:
        cutoff: cutoff of the graphs in Å.
        backend: library that finds the edges of the graphs.
    """

    cutoff: float
    backend: Backend

    def __call__(self, graph: Graph) -> Prediction:
        """Predict. The graph must hold every edge up to `cutoff`."""
        ...


__all__ = ["Graph", "Labels", "OnDevice", "Potential", "Prediction"]
