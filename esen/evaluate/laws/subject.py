"""The potential under test, and its prediction for a structure with the tolerances that follow from it."""

import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

import numpy as np
import torch

from esen.data.structure import Structure
from esen.errors import InputError
from esen.evaluate.laws.quantities import Noise, Quantities
from esen.graph.batch import collate, make_graph, pack_batches, separate
from esen.graph.types import Graph, Potential, Prediction

RELATIVE = 1e-9
"""Relative accuracy of float64, with respect to the largest energy or force of an atom."""
LEAST_PRECISION = 1e-3
"""Largest relative tolerance: a potential with more noise than this breaks the law."""
_OF_NOISE = 100
"""The tolerance in units of the noise. A rotation changes every rounding; a step of 1e-5 Å changes few."""
_BATCH_EDGES = 3000


class NoPredictionError(Exception):
    """The potential gave NaN or refused an input that it should compute. The message names the input."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A potential to be tested.

    Attributes:
        potential: The potential.
        device: Device on which the potential computes.
        differentiable: A copy whose forces can be differentiated with respect to positions; None if that is not
            possible.
        rounded: A float32 copy of a potential in float64; None if there is none.
        stateful: Whether the potential keeps anything between calls, as ASE calculators keep neighbour lists and
            random edge frames a generator.
    """

    potential: Potential
    device: str = "cpu"
    differentiable: Potential | None = None
    rounded: Potential | None = None
    stateful: bool = False

    def predict(self, structures: Sequence[Structure], *, together: bool = False) -> list[Prediction]:
        """Predict each structure, in batches of a few thousand edges, or all `together` in one batch.

        Raises:
            NoPredictionError: An energy or force is not finite, or the potential refuses a structure.
        """
        graphs = [make_graph(s, self.potential.cutoff, self.potential.backend) for s in structures]
        sizes = [graph.num_edges + graph.num_atoms for graph in graphs]
        most = sum(sizes) if together else _BATCH_EDGES
        predictions: list[Prediction] = []
        for indices in pack_batches(sizes, atoms=most, structures=None, order=range(len(sizes))):
            batch = collate([graphs[index] for index in indices])
            predictions += separate(self._call(batch, structures[indices[0]].source), batch)
        for structure, prediction in zip(structures, predictions, strict=True):
            _check_finite(structure, prediction)
        return predictions

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
        return Prediction(**{name: value.detach() for name, value in vars(prediction).items()})


@dataclass(frozen=True, eq=False)
class Case:
    """A structure with the prediction for it.

    Attributes:
        subject: The potential.
        structure: The structure, without labels.
        prediction: The prediction for the structure as it was given.
        noise: The noise of the prediction.
        seed: Seed of all random numbers.
        earlier: Elements of each structure before this one, whose pairs have been measured.
    """

    subject: Subject
    structure: Structure
    prediction: Prediction
    noise: Noise
    seed: int
    earlier: tuple[frozenset[int], ...] = ()

    def new_among(self, elements: Iterable[int]) -> bool:
        """Whether no earlier structure had all of these elements, so that they have not been measured together."""
        together = set(elements)
        return not any(together <= before for before in self.earlier)

    @property
    def name(self) -> str:
        """The name of the structure."""
        return self.structure.source

    @property
    def size(self) -> float:
        """The largest energy (eV) or force (eV/Å) of an atom, with which rounding grows."""
        energies, forces = self.prediction.energies, self.prediction.forces
        return max(float(energies.abs().max()), float(forces.abs().max()), 1e-3)

    @property
    def sizes(self) -> Quantities:
        """The size of the terms that each quantity is a sum of. Rounding grows with it even if the sum vanishes.

        The size of energies and forces is `size`. A stress is a sum of forces times distances over the volume V, of
        which each atom has V/N: its size is `size` · N/V, a force times 1 Å per volume of an atom, or its largest
        component.
        """
        stress = math.inf
        if self.has_stress:
            largest = float(self.prediction.stress.abs().max())
            stress = max(largest, self.size * len(self.structure) / self.structure.volume)
        return Quantities(self.size, self.size, stress)

    @property
    def tolerances(self) -> Quantities:
        """Largest differences between predictions that should be equal.

        They are a billionth of `sizes`, or a hundred times the measured noise, but no more than a thousandth of
        `sizes`, separately for each quantity.
        """
        noise = (self.noise.energy / len(self.structure), self.noise.forces, self.noise.stress)
        pairs = zip(astuple(self.sizes), noise, strict=True)
        return Quantities(*(max(RELATIVE * s, min(_OF_NOISE * n, LEAST_PRECISION * s)) for s, n in pairs))

    @property
    def has_stress(self) -> bool:
        """Whether the cell has a volume and the potential gives a stress."""
        return bool(self.structure.has_volume and self.prediction.stress.isfinite().all())

    def rng(self, law: str) -> np.random.Generator:
        """Return a generator whose numbers depend on the law and the seed, not on the other laws that are run."""
        return np.random.default_rng([self.seed, zlib.crc32(law.encode())])

    def predict(self, *structures: Structure) -> list[Prediction]:
        """Predict structures, as `Subject.predict` does."""
        return self.subject.predict(structures)


def _check_finite(structure: Structure, prediction: Prediction) -> None:
    if not bool(prediction.energy.isfinite()):
        raise NoPredictionError(f"{structure.source}: the energy is {float(prediction.energy)}")
    if not bool(prediction.forces.isfinite().all()):
        atom = int((~prediction.forces.isfinite()).any(dim=1).nonzero()[0])
        raise NoPredictionError(
            f"{structure.source}: the force on atom {atom} is {prediction.forces[atom].tolist()}"
        )
