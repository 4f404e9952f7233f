"""A potential as the evaluations of materials need it: for graphs, for ASE, and in batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from esen.data.checks import check_known
from esen.data.structure import Structure
from esen.evaluate.batched import run_batched
from esen.graph.batch import collate, make_graphs, pack_batches, separate
from esen.graph.types import Potential, Prediction

R = TypeVar("R")

Progress = Callable[[int, int], None]
"""Called with the number of computations that are done, and the number of all."""
AsCalculator = Callable[[Potential], Any]


def no_progress(done: int, total: int) -> None:
    """Report nothing."""


@dataclass(frozen=True, eq=False)
class Model:
    """A potential that materials are evaluated with.

    Attributes:
        potential: evaluates graphs.
        calculator: the same potential as an ASE calculator.
        device: where the potential is.
        differentiable: a copy whose forces can be differentiated by the positions; None where that is not possible.
        batch_atoms: structures are evaluated together, at most so many atoms at a time.
        elements: atomic numbers that the potential knows; None if that is not known.
        direct: whether the forces come from a head of their own and are not the gradient of the energy.
        as_calculator: makes an ASE calculator of a potential; None for ASE calculators, which take one structure at a
            time.
    """

    potential: Potential
    calculator: Any
    device: str = "cpu"
    differentiable: Potential | None = None
    batch_atoms: int = 512
    elements: tuple[int, ...] | None = None
    direct: bool = False
    as_calculator: AsCalculator | None = None

    def check_elements(self, structure: Structure) -> None:
        """Check that the potential knows all elements of a structure.

        Raises:
            InputError: it does not; the message names the element.
        """
        check_known(structure, self.elements)

    def energies(self, structures: Sequence[Structure], progress: Progress = no_progress) -> list[float]:
        """Compute the energy of each structure, in eV, in batches, as `forces` does."""
        return [float(one.energy.sum()) for one in self._predictions(structures, progress)]

    def forces(self, structures: Sequence[Structure], progress: Progress = no_progress) -> list[np.ndarray]:
        """Compute the forces on the atoms of each structure, in eV/Å, in batches.

        Args:
            structures: of any size.
            progress: is called with the number of structures done and of all.
        """
        return [one.forces.detach().numpy() for one in self._predictions(structures, progress)]

    def _predictions(self, structures: Sequence[Structure], progress: Progress) -> list[Prediction]:
        found: list[Prediction] = []
        sizes = [len(structure) for structure in structures]
        for batch in pack_batches(sizes, atoms=self.batch_atoms, structures=None, order=range(len(sizes))):
            graphs = make_graphs(
                [structures[i] for i in batch], self.potential.cutoff, self.potential.backend
            )
            graph = collate(graphs).to(self.device)
            single = separate(self.potential(graph).to("cpu"), graph.to("cpu"))
            found += single
            progress(len(found), len(structures))
        return found

    def run_all(
        self,
        procedures: Sequence[Callable[[Any], R]],
        sizes: Sequence[int],
        ended: Callable[[int, R | Exception], None] = lambda index, outcome: None,
    ) -> list[R | Exception]:
        """Run procedures that call an ASE calculator again and again, such as relaxations.

        Where the potential takes batches, the procedures run side by side and their calls are answered together.

        Args:
            procedures: each is called with an ASE calculator.
            sizes: number of atoms that each procedure evaluates.
            ended: called with index and outcome of each procedure as soon as it ends.

        Returns:
            In order, what each procedure returned, or the exception that it raised.
        """
        make = self.as_calculator
        if make is not None:
            return run_batched(
                [partial(_on_shared, procedure, make) for procedure in procedures],
                self.potential,
                sizes=sizes,
                budget=self.batch_atoms,
                device=self.device,
                ended=ended,
            )
        outcomes: list[R | Exception] = []
        for index, procedure in enumerate(procedures):
            try:
                outcomes.append(procedure(self.calculator))
            except Exception as error:  # of spglib, a foreign calculator, or a defect: the others go on
                outcomes.append(error)
            ended(index, outcomes[-1])
        return outcomes


def _on_shared(procedure: Callable[[Any], R], make: AsCalculator, shared: Potential) -> R:
    return procedure(make(shared))
