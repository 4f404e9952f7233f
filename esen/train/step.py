"""The gradient of a batch, in as many parts as memory asks for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from esen.graph.batch import make_graph, make_labels, pack_batches
from esen.graph.types import Graph, Labels
from esen.models.dens import Corruption
from esen.models.potential import EsenPotential
from esen.recipe.train import DensSpec, LossSpec
from esen.train.dataset import Batches
from esen.train.dens import Displacement, can_be_denoised, displace, joined
from esen.train.distributed import ALONE, Team
from esen.train.loss import Counts, LossTerms, displacement_loss, training_loss, without_displaced
from esen.train.memory import must_fit


@dataclass(frozen=True, eq=False)
class Part:
    """Structures that go through the network together.

    Attributes:
        graph: of them; at displaced positions, if they are.
        labels: of them as they were before.
        weights: factors on their terms of the loss; None: 1.
        displacement: of their atoms; None: a plain pass.
    """

    graph: Graph
    labels: Labels
    weights: Float64[Tensor, " B"] | None = None
    displacement: Displacement | None = None

    def to(self, device: torch.device) -> "Part":
        """The same on `device`."""
        return Part(
            self.graph.to(device),
            self.labels.to(device),
            None if self.weights is None else self.weights.to(device),
            None if self.displacement is None else self.displacement.to(device),
        )

    def ready_for(self, device: torch.device) -> "Part":
        """The same, in memory from which it gets to `device` fastest."""
        if device.type != "cuda":
            return self
        return Part(
            self.graph.pinned(),
            self.labels.pinned(),
            None if self.weights is None else self.weights.pin_memory(),
            None if self.displacement is None else self.displacement.pinned(),
        )


@dataclass(frozen=True, eq=False)
class Objective:
    """What a stage minimises, and in how large parts.

    Attributes:
        loss: weights of the terms.
        dens: of denoising batches; None: there are none.
        atoms: at most so many atoms a part, but at least one structure; None: the batch is one part.
        weights: factor on the loss of each frame; None: 1.
        team: the processes that share a batch.
    """

    loss: LossSpec
    dens: DensSpec | None = None
    atoms: int | None = None
    weights: Float64[np.ndarray, " frames"] | None = None
    team: Team = ALONE

    def parts(
        self, batches: Batches, indices: Sequence[int], random: np.random.Generator | None = None
    ) -> list[Part]:
        """The parts of a batch that are this process's.

        In a denoising batch the structures whose forces are not known go through a plain pass of their own.

        Args:
            batches: of the frames.
            indices: of the batch.
            random: what displaces the atoms; None: nothing does.
        """
        mine = self.team.share(indices, [len(batches.structures[i]) for i in indices])
        if random is None:
            return [self._plain(batches, some) for some in self._divided(batches, mine)]
        assert self.dens is not None
        frames = {i: batches.structures[i] for i in indices}
        noisy = [i for i in indices if can_be_denoised(frames[i])]
        moved = displace([frames[i] for i in noisy], self.dens, random)
        found = dict(zip(noisy, moved, strict=True))
        parts = []  # every process draws for the whole batch, so that no draw depends on their number
        for some in self._divided(batches, [i for i in mine if i in found]):
            structures, displacements = zip(*(found[i] for i in some), strict=True)
            graph = make_graph(structures, batches.cutoff, batches.backend)
            labels = make_labels([frames[i] for i in some])
            parts.append(Part(graph, labels, self._weights(some), joined(displacements)))
        plain = [i for i in mine if i not in found]
        return parts + [self._plain(batches, some) for some in self._divided(batches, plain)]

    def _plain(self, batches: Batches, indices: Sequence[int]) -> Part:
        return Part(*batches.load(indices), self._weights(indices))

    def _divided(self, batches: Batches, indices: Sequence[int]) -> list[list[int]]:
        if self.atoms is None:
            return [list(indices)] if indices else []
        sizes = batches.structures.atoms[list(indices)].tolist()
        packed = pack_batches(sizes, atoms=self.atoms, structures=None, order=range(len(indices)))
        return [[indices[place] for place in part] for part in packed]

    def _weights(self, indices: Sequence[int]) -> Tensor | None:
        return None if self.weights is None else torch.from_numpy(self.weights[list(indices)])

    def add_gradient(self, potential: EsenPotential, parts: Sequence[Part]) -> LossTerms:
        """Add the gradient of the batch's loss to that of the weights; the loss, apart from them.

        Every mean is over the labels of the whole batch, so that its division into parts, and among processes,
        changes rounding alone.

        Raises:
            InputError: a part does not fit in memory.
            LostProcessError: another process is gone.
        """
        counts = self._counts(parts)
        done = LossTerms.zero(potential.scale.device)
        for part in parts:
            with must_fit(part.graph):
                terms = self.terms(potential, part.to(potential.scale.device), counts)
                if terms.total.requires_grad:
                    terms.total.backward()
            done = done + terms.detach()
        self.team.add_up_gradients(potential.parameters())
        self.team.add_up(done.tensors())
        return done

    def _counts(self, parts: Sequence[Part]) -> Counts:
        mine = Counts.of(part.labels for part in parts)
        if self.team.size == 1:
            return mine
        return Counts(*(int(total) for total in self.team.sums([mine.energies, mine.forces, mine.stresses])))

    def terms(self, potential: EsenPotential, part: Part, counts: Counts) -> LossTerms:
        """The loss of a part, as its share in that of the batch that has these counts."""
        scale, graph = float(potential.scale), part.graph
        if part.displacement is None:
            prediction = potential(graph)
            return training_loss(
                self.loss, scale, prediction, part.labels, graph, counts=counts, weights=part.weights
            )
        assert self.dens is not None
        noise, corrupted = part.displacement.noise, part.displacement.corrupted
        denoised = potential.denoise(graph, Corruption(part.labels.forces, corrupted))
        of_atoms = None if part.weights is None else part.weights[graph.structure]
        denoising = displacement_loss(denoised.noise, noise, corrupted, counts.forces, of_atoms)
        terms = LossTerms.zero(denoising.device)
        if denoised.prediction is not None:
            labels = without_displaced(part.labels, corrupted)
            terms = training_loss(
                self.loss, scale, denoised.prediction, labels, graph, counts=counts, weights=part.weights
            )
        total = terms.total + self.dens.coefficient * denoising
        return replace(terms, total=total, denoising=denoising)
