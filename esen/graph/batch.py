"""Conversion of structures to graphs and labels, and of graphs to batches and back."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from esen.data.neighbours import Edges
from esen.data.structure import Structure
from esen.graph.backends import find_edges
from esen.graph.types import Graph, Labels, Prediction
from esen.recipe.model import Backend


def make_graph(
    structures: Structure | Sequence[Structure], cutoff: float, backend: Backend = "vesin"
) -> Graph:
    """Return the graph of one structure, or the batch of several, with every pair of atoms up to `cutoff`.

    Args:
        structures: one structure, or at least one in a sequence.
        cutoff: largest distance in Å.
        backend: library that finds the pairs; the graph does not depend on it.

    Raises:
        InputError: positions or cell are not finite, or a periodic cell has no volume (the message names the file), or
            the backend is not installed.
    """
    if isinstance(structures, Structure):
        return make_graphs([structures], cutoff, backend)[0]
    return collate(make_graphs(structures, cutoff, backend))


def make_graphs(structures: Sequence[Structure], cutoff: float, backend: Backend = "vesin") -> list[Graph]:
    """Return one graph per structure, as `make_graph`. Some backends search all structures at once."""
    edges = find_edges(structures, cutoff, backend)
    return [_graph(structure, found) for structure, found in zip(structures, edges, strict=True)]


def collate(graphs: Sequence[Graph]) -> Graph:
    """Return one batch of all structures of the graphs, in order. Its tensors are copies.

    Raises:
        ValueError: there are no graphs.
    """
    if not graphs:
        raise ValueError("a batch needs at least one graph")
    first_atom = _starts([graph.num_atoms for graph in graphs])
    first_structure = _starts([graph.num_structures for graph in graphs])
    return Graph(
        numbers=torch.cat([graph.numbers for graph in graphs]),
        positions=torch.cat([graph.positions for graph in graphs]),
        cell=torch.cat([graph.cell for graph in graphs]),
        pbc=torch.cat([graph.pbc for graph in graphs]),
        structure=torch.cat([g.structure + start for g, start in zip(graphs, first_structure, strict=True)]),
        sender=torch.cat([g.sender + start for g, start in zip(graphs, first_atom, strict=True)]),
        receiver=torch.cat([g.receiver + start for g, start in zip(graphs, first_atom, strict=True)]),
        shift=torch.cat([graph.shift for graph in graphs]),
    )


def make_labels(structures: Structure | Sequence[Structure]) -> Labels:
    """Return the labels of a batch, with NaN where a structure has none."""
    if isinstance(structures, Structure):
        structures = [structures]
    nan = float("nan")
    energies = [nan if s.energy is None else s.energy for s in structures]
    forces = [np.full((len(s), 3), nan) if s.forces is None else s.forces for s in structures]
    stresses = [np.full((3, 3), nan) if s.stress is None else s.stress for s in structures]
    return Labels(
        energy=torch.tensor(energies, dtype=torch.float64),
        forces=torch.from_numpy(np.concatenate(forces)),
        stress=torch.from_numpy(np.stack(stresses)),
    )


def pack_batches(
    sizes: Sequence[int], *, atoms: int | None, structures: int | None, order: Iterable[int]
) -> list[list[int]]:
    """Return batches of indices, each filled in the given order until the next structure does not fit.

    Args:
        sizes: number of atoms of each structure.
        atoms: largest number of atoms per batch; a larger structure gets a batch of its own.
        structures: largest number of structures per batch. Exactly one of the two limits must be given.
        order: indices into `sizes`.

    Raises:
        ValueError: both limits are given, or neither.

    >>> pack_batches([2, 3, 9, 1], atoms=5, structures=None, order=[0, 1, 2, 3])
    [[0, 1], [2], [3]]
    """
    if (atoms is None) == (structures is None):
        raise ValueError("give either `atoms` or `structures`")
    limit = atoms if atoms is not None else structures
    assert limit is not None
    batches: list[list[int]] = []
    room = 0
    for index in order:
        size = sizes[index] if atoms is not None else 1
        if not batches or size > room:
            batches.append([])
            room = limit
        batches[-1].append(index)
        room -= size
    return batches


def separate(prediction: Prediction, graph: Graph) -> list[Prediction]:
    """Split the prediction for a batch into one per structure."""
    atoms = torch.bincount(graph.structure, minlength=graph.num_structures).tolist()
    return [
        Prediction(
            energy=prediction.energy[index : index + 1],
            forces=prediction.forces[start : start + count],
            stress=prediction.stress[index : index + 1],
            energies=prediction.energies[start : start + count],
            virial=prediction.virial[index : index + 1],
        )
        for index, (start, count) in enumerate(zip(_starts(atoms), atoms, strict=True))
    ]


def _graph(structure: Structure, edges: Edges) -> Graph:
    sender, receiver, shift = edges
    return Graph(
        numbers=_tensor(structure.numbers, torch.int64),
        positions=_tensor(structure.positions, torch.float64),
        cell=_tensor(structure.cell, torch.float64).unsqueeze(0),
        pbc=_tensor(structure.pbc, torch.bool).unsqueeze(0),
        structure=torch.zeros(len(structure), dtype=torch.int64),
        sender=torch.from_numpy(sender),
        receiver=torch.from_numpy(receiver),
        shift=torch.from_numpy(shift.astype(np.float64)),
    )


def _tensor(array: np.ndarray, dtype: torch.dtype) -> Tensor:
    """Return a copy, so that later changes of the structure do not affect the graph."""
    return torch.tensor(array, dtype=dtype)


def _starts(counts: list[int]) -> list[int]:
    return [0, *np.cumsum(counts)[:-1].tolist()]
