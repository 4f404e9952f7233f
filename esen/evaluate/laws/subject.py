"""The potential under test, and what is compared with what it says of a structure."""

import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from esen.data.structure import Structure
from esen.errors import InputError
from esen.evaluate.laws.precision import Noise
from esen.evaluate.laws.quantities import Quantities
from esen.graph.batch import collate, make_graph, separate
from esen.graph.types import Graph, Potential, Prediction

RELATIVE = 1e-9
"""What float64 keeps of the largest atomic energy or force."""
LEAST_PRECISION = 1e-3
"""A potential noisier than this, relative to the size of a quantity, breaks a law, whatever the noise."""
_OF_NOISE = 100
"""The tolerance is so many times the noise: a rotation changes every rounding, a step of 1e-5 Å changes few."""
_BATCH_EDGES = 3000


class NoPredictionError(Exception):
    """The potential gave NaN or refused an input that it should compute; the message says which."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A potential to be tested.

    Attributes:
        potential: what is tested.
        device: where it is.
        differentiable: the same, with forces that can be differentiated by the positions of the graph; None where
            that is not possible.
        rounded: the same in float32, where the potential is in float64.
        stateful: whether it keeps anything from one call to the next, as ASE calculators keep neighbour lists.
    """

    potential: Potential
    device: str = "cpu"
    differentiable: Potential | None = None
    rounded: Potential | None = None
    stateful: bool = False

    def predict(self, structures: Sequence[Structure], *, together: bool = False) -> list[Prediction]:
        """One prediction a structure, in batches of a few thousand edges, or all `together` in one.

        Raises:
            NoPredictionError: an energy or force is not finite, or the potential refuses a structure.
        """
        predictions: list[Prediction] = []
        for batch in self._batches(structures, float("inf") if together else _BATCH_EDGES):
            predictions += separate(self._call(batch, structures[len(predictions)].source), batch)
        for structure, prediction in zip(structures, predictions, strict=True):
            _check_finite(structure, prediction)
        return predictions

    def _batches(self, structures: Sequence[Structure], most_edges: float) -> list[Graph]:
        batches: list[list[Graph]] = []
        room = 0.0
        for structure in structures:
            graph = make_graph(structure, self.potential.cutoff, self.potential.backend)
            size = graph.num_edges + graph.num_atoms
            if not batches or size > room:
                batches.append([])
                room = most_edges
            batches[-1].append(graph)
            room -= size
        return [collate(batch) for batch in batches]

    def _call(self, graph: Graph, source: str) -> Prediction:
        try:
            prediction = self.potential(graph.to(self.device)).to("cpu")
        except InputError as error:
            raise NoPredictionError(f"{source}: {error}") from error
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"{source}: {graph.num_atoms} atoms and {graph.num_edges} edges do not fit in the memory of "
                f"{self.device}; give a smaller structure, or --device cpu"
            ) from error
        return Prediction(
            prediction.energy.detach(),
            prediction.forces.detach(),
            prediction.stress.detach(),
            prediction.energies.detach(),
        )


@dataclass(frozen=True, eq=False)
class Case:
    """A structure, and what the potential says of it.

    Attributes:
        subject: the potential.
        structure: without labels.
        prediction: of the structure as it was given.
        noise: of the prediction.
        seed: of what is drawn at random.
        earlier: elements of each of the structures before, whose pairs have been measured.
    """

    subject: Subject
    structure: Structure
    prediction: Prediction
    noise: Noise
    seed: int
    earlier: tuple[frozenset[int], ...] = ()

    @property
    def new_elements(self) -> bool:
        """Whether no earlier structure had all of its elements."""
        return self.new_among(self.structure.numbers.tolist())

    def new_among(self, elements: Iterable[int]) -> bool:
        """Whether no earlier structure had all of these elements, so that they have not been measured together."""
        together = set(elements)
        return not any(together <= before for before in self.earlier)

    @property
    def name(self) -> str:
        """Of the structure."""
        return self.structure.source

    @property
    def size(self) -> float:
        """The largest energy (eV) or force (eV/Å) of an atom, with which rounding grows."""
        energies, forces = self.prediction.energies, self.prediction.forces
        return max(float(energies.abs().max()), float(forces.abs().max()), 1e-3)

    @property
    def sizes(self) -> Quantities:
        """What each quantity is made of, with which its rounding grows, even where symmetry makes it vanish.

        Of energies and forces `size`. A stress is a sum of forces times distances over the volume V, of which each
        atom has V/N: its size is `size` · N/V, a force times 1 Å per volume of an atom, or its largest component.
        """
        stress = math.inf
        if self.has_stress:
            largest = float(self.prediction.stress.abs().max())
            stress = max(largest, self.size * len(self.structure) / self.structure.volume)
        return Quantities(self.size, self.size, stress)

    @property
    def tolerances(self) -> Quantities:
        """How far two equal predictions may differ.

        A billionth of `sizes`, or a hundred times the noise that was measured, but no more than a thousandth of
        `sizes`; each quantity by its own.
        """
        energy, forces, stress = (
            max(RELATIVE * size, min(_OF_NOISE * noise, LEAST_PRECISION * size))
            for size, noise in (
                (self.sizes.energy, self.noise.energy / len(self.structure)),
                (self.sizes.forces, self.noise.forces),
                (self.sizes.stress, self.noise.stress),
            )
        )
        return Quantities(energy, forces, stress)

    @property
    def has_stress(self) -> bool:
        """Three periods, and a potential that gives a stress."""
        return bool(self.structure.pbc.all() and self.prediction.stress.isfinite().all())

    def rng(self, law: str) -> np.random.Generator:
        """The same numbers for a law whatever other laws are run."""
        return np.random.default_rng([self.seed, zlib.crc32(law.encode())])

    def predict(self, *structures: Structure) -> list[Prediction]:
        """As `Subject.predict`."""
        return self.subject.predict(structures)


def _check_finite(structure: Structure, prediction: Prediction) -> None:
    if not bool(prediction.energy.isfinite()):
        raise NoPredictionError(f"{structure.source}: the energy is {float(prediction.energy)}")
    if not bool(prediction.forces.isfinite().all()):
        atom = int((~prediction.forces.isfinite()).any(dim=1).nonzero()[0])
        raise NoPredictionError(
            f"{structure.source}: the force on atom {atom} is {prediction.forces[atom].tolist()}"
        )
