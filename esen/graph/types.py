"""What a potential takes and gives. A `Graph` holds no answers, so a model cannot see them."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from esen.data.targets import Target
from esen.recipe.model import Backend

Moved = TypeVar("Moved", bound="OnDevice")


class OnDevice:
    """Dataclasses whose tensors, also those of nested dataclasses of this kind, move between devices together."""

    def to(self: Moved, device: torch.device | str) -> Moved:
        """Return the same on `device`; tensors already there are shared, not copied."""
        wait = torch.device(device).type != "cuda"  # what follows on the GPU waits by itself
        return self._each(lambda value: value.to(device, non_blocking=not wait))

    def pinned(self: Moved) -> Moved:
        """Return the same in page-locked memory, from which a GPU copies while the processor goes on."""
        return self._each(torch.Tensor.pin_memory)

    def _each(self: Moved, function: Callable[[Tensor], Tensor]) -> Moved:
        changed: dict[str, object] = {}
        for field in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value = getattr(self, field.name)
            if isinstance(value, OnDevice):
                changed[field.name] = value._each(function)
            elif isinstance(value, Tensor):
                changed[field.name] = function(value)
        return replace(self, **changed)  # type: ignore[type-var]  # the same


@dataclass(frozen=True, eq=False)
class Graph(OnDevice):
    """A batch of B structures with N atoms and E directed edges in all. Geometry is float64.

    Attributes:
        numbers: atomic numbers.
        positions: in Å.
        cell: rows are lattice vectors, in Å.
        pbc: which lattice vectors are periods.
        structure: which structure each atom belongs to, ascending.
        sender: the neighbour's atom index, one an edge.
        receiver: the central atom's index, ascending.
        shift: whole lattice vectors by which the sender's image is displaced.
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
    def num_structures(self) -> int:
        """B."""
        return int(self.cell.shape[0])

    @property
    def num_atoms(self) -> int:
        """N."""
        return int(self.numbers.shape[0])

    @property
    def num_edges(self) -> int:
        """E."""
        return int(self.sender.shape[0])


@dataclass(frozen=True, eq=False)
class Labels(OnDevice):
    """Reference values of a batch, one field per `Target`. A missing label is NaN and is left out of every mean.

    Attributes:
        energy: total energies, in eV.
        forces: in eV/Å.
        stress: in eV/Å³, ASE's sign.
    """

    energy: Float64[Tensor, " B"]
    forces: Float64[Tensor, "N 3"]
    stress: Float64[Tensor, "B 3 3"]

    def known(self, target: Target) -> Bool[Tensor, " rows"]:
        """Mask of the structures, or atoms, that have a label of the target: all of its components are finite."""
        label: Tensor = target.of(self)
        return label.view(len(label), -1).isfinite().all(dim=1)


@dataclass(frozen=True, eq=False)
class Prediction(OnDevice):
    """What a potential says of a batch.

    Attributes:
        energy: total energies, in eV, float64.
        forces: in eV/Å, float64.
        stress: σ = (1/V) ∂E/∂ε in eV/Å³, ASE's sign; zero where a structure has no periodic volume.
        energies: per atom, in eV, float64; they sum to `energy`.
    """

    energy: Float64[Tensor, " B"]
    forces: Float64[Tensor, "N 3"]
    stress: Float64[Tensor, "B 3 3"]
    energies: Float64[Tensor, " N"]


@runtime_checkable
class Potential(Protocol):
    """Anything that gives energy, forces and stress: our network, or an ASE calculator behind an adapter.

    Attributes:
        cutoff: of the graphs that it takes, in Å.
        backend: what finds their edges.
    """

    cutoff: float
    backend: Backend

    def __call__(self, graph: Graph) -> Prediction:
        """Predict. The graph must hold every edge up to `cutoff`."""
        ...


__all__ = ["Graph", "Labels", "OnDevice", "Potential", "Prediction"]
