"""The gradient of a batch, computed in as many parts as memory requires."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from esen.data.targets import TARGETS
from esen.graph.batch import make_graph, make_labels, pack_batches
from esen.graph.types import Graph, Labels, OnDevice
from esen.models.dens import Corruption
from esen.models.potential import EsenPotential
from esen.recipe.train import DensSpec, LossSpec
from esen.train.batches import Batches
from esen.train.dens import Displacement, can_be_denoised, displace, joined
from esen.train.distributed import ALONE, Processes
from esen.train.memory import must_fit
from esen.train.targets import (
    LossTerms,
    displacement_loss,
    label_counts,
    training_loss,
    without_displaced,
)


@dataclass(frozen=True, eq=False)
class MicroBatch(OnDevice):
    """Structures that go through the network together: a batch or a part of one.

    Attributes:
        graph: Their graph, at displaced positions in a denoising batch.
        labels: Labels at the original positions.
        weights: Factors on their terms of the loss; None stands for 1.
        displacement: How their atoms were displaced; None in a plain pass.
    """

    graph: Graph
    labels: Labels
    weights: Float64[Tensor, " B"] | None = None
    displacement: Displacement | None = None

    def ready_for(self, device: torch.device) -> "MicroBatch":
        """Return the same in the memory from which it is copied to `device` fastest."""
        return self.pinned() if device.type == "cuda" else self


@dataclass(frozen=True, eq=False)
class Objective:
    """What a stage minimises, and how a batch is divided.

    Attributes:
        loss: Weights of the terms.
        dens: Settings of denoising batches; None if there are none.
        atoms: Largest number of atoms of a part, which holds at least one structure; None: batches are not divided.
        weights: Factor on the loss of each frame; None stands for 1.
        processes: The processes that share a batch.
    """

    loss: LossSpec
    dens: DensSpec | None = None
    atoms: int | None = None
    weights: Float64[np.ndarray, " frames"] | None = None
    processes: Processes = ALONE

    def parts(
        self, batches: Batches, indices: Sequence[int], random: np.random.Generator | None = None
    ) -> list[MicroBatch]:
        """Return the parts of a batch that this process computes.

        In a denoising batch, structures without forces go through a plain pass of their own.

        Args:
            batches: Source of the frames.
            indices: Frames of the batch.
            random: Generator of the displacements of a denoising batch; None for a plain batch.
        """
        mine = self.processes.share(indices, [len(batches.structures[i]) for i in indices])
        if random is None:
            return [self._plain(batches, some) for some in self._divided(batches, mine)]
        assert self.dens is not None
        frames = {i: batches.structures[i] for i in indices}
        noisy = [i for i in indices if can_be_denoised(frames[i])]
        found = {i: displace(frames[i], self.dens, random) for i in noisy}
        parts = []  # every process draws for the whole batch, so that no draw depends on their number
        for some in self._divided(batches, [i for i in mine if i in found]):
            structures, displacements = zip(*(found[i] for i in some), strict=True)
            graph = make_graph(structures, batches.cutoff, batches.backend)
            labels = make_labels([frames[i] for i in some])
            parts.append(MicroBatch(graph, labels, self._weights(some), joined(displacements)))
        plain = [i for i in mine if i not in found]
        return parts + [self._plain(batches, some) for some in self._divided(batches, plain)]

    def _plain(self, batches: Batches, indices: Sequence[int]) -> MicroBatch:
        return MicroBatch(*batches.load(indices), self._weights(indices))

    def _divided(self, batches: Batches, indices: Sequence[int]) -> list[list[int]]:
        if self.atoms is None:
            return [list(indices)] if indices else []
        sizes = batches.structures.atoms[list(indices)].tolist()
        packed = pack_batches(sizes, atoms=self.atoms, structures=None, order=range(len(indices)))
        return [[indices[place] for place in part] for part in packed]

    def _weights(self, indices: Sequence[int]) -> Tensor | None:
        return None if self.weights is None else torch.from_numpy(self.weights[list(indices)])

    def add_gradient(self, potential: EsenPotential, parts: Sequence[MicroBatch]) -> LossTerms:
        """Add the gradient of a batch's loss to that of the weights, and return the loss without its autograd graph.

        Means are over the labels of the whole batch, so that its division into parts, and among processes, changes
        rounding alone.

        Raises:
            InputError: A part does not fit in memory.
            LostProcessError: Another process ended.
        """
        device = potential.scale.device
        counts = label_counts(part.labels for part in parts)
        totals = self.processes.sums([float(counts[target.name]) for target in TARGETS])
        counts = {target.name: int(total) for target, total in zip(TARGETS, totals, strict=True)}
        done = LossTerms.zero(device)
        for part in parts:
            with must_fit(part.graph):
                terms = self.terms(potential, part.to(device), counts)
                if terms.total.requires_grad:
                    terms.total.backward()
            done = done + terms
        self.processes.add_up_gradients(potential.parameters())
        self.processes.add_up([done.total, done.terms])
        return done

    def terms(self, potential: EsenPotential, part: MicroBatch, counts: dict[str, int]) -> LossTerms:
        """Return the loss of a part, as its share in the loss of the batch that has these numbers of labels."""
        scale, graph, weights = float(potential.scale), part.graph, part.weights
        if part.displacement is None:
            prediction = potential(graph)
            return training_loss(
                self.loss, scale, prediction, part.labels, graph, counts=counts, weights=weights
            )
        assert self.dens is not None
        noise, corrupted = part.displacement.noise, part.displacement.corrupted
        denoised = potential.denoise(graph, Corruption(part.labels.forces, corrupted))
        of_atoms = None if weights is None else weights[graph.structure]
        denoising = displacement_loss(denoised.noise, noise, corrupted, counts["forces"], of_atoms)
        terms = LossTerms.zero(denoising.device)
        if denoised.prediction is not None:
            labels = without_displaced(part.labels, corrupted)
            terms = training_loss(
                self.loss, scale, denoised.prediction, labels, graph, counts=counts, weights=weights
            )
        return terms.with_denoising(denoising, self.dens.coefficient)
